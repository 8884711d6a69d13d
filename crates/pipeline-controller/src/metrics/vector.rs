//! Metrics whose names and labels come from the table.

use std::borrow::Cow;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric as Registered, Registry};

use super::table::Metric;

pub(super) type Value = Cow<'static, str>;
type Labels<const N: usize> = [(&'static str, Value); N];

/// A metric without labels.
pub(super) fn single<M: Registered + Default + Clone>(registry: &mut Registry, metric: &Metric<0>) -> M {
    let only = M::default();
    registry.register(metric.encoded_name(), metric.help, only.clone());
    only
}

/// All series of one metric.
#[derive(Clone, Debug)]
pub(super) struct Vector<const N: usize, M, C = fn() -> M> {
    family: Family<Labels<N>, M, C>,
    names: [&'static str; N],
}

pub(super) type Counters<const N: usize> = Vector<N, Counter>;
pub(super) type Seconds<const N: usize> = Vector<N, Counter<f64, AtomicU64>>;
pub(super) type Gauges<const N: usize> = Vector<N, Gauge>;
pub(super) type Histograms<const N: usize> = Vector<N, Histogram, Buckets>;

/// Upper bounds of a histogram's buckets, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buckets(pub(super) &'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

impl<const N: usize, M: Registered + Default + Clone> Vector<N, M> {
    pub(super) fn register(registry: &mut Registry, metric: &Metric<N>) -> Self
    where
        Family<Labels<N>, M>: Registered,
    {
        Self::over(Family::default(), registry, metric)
    }
}

impl<const N: usize> Histograms<N> {
    pub(super) fn with_buckets(registry: &mut Registry, metric: &Metric<N>, buckets: &'static [f64]) -> Self {
        Self::over(Family::new_with_constructor(Buckets(buckets)), registry, metric)
    }
}

impl<const N: usize, M, C: MetricConstructor<M>> Vector<N, M, C> {
    fn over(family: Family<Labels<N>, M, C>, registry: &mut Registry, metric: &Metric<N>) -> Self
    where
        Family<Labels<N>, M, C>: Registered + Clone,
    {
        registry.register(metric.encoded_name(), metric.help, family.clone());
        Self { family, names: metric.labels.each_ref().map(|label| label.name) }
    }

    /// Does something with the series of these values, which begins at zero.
    pub(super) fn with<T>(&self, values: [impl Into<Value>; N], use_: impl FnOnce(&M) -> T) -> T {
        let mut names = self.names.into_iter();
        let labels = values.map(|value| (names.next().unwrap_or_default(), value.into()));
        use_(&self.family.get_or_create(&labels))
    }

    /// Takes all series out.
    pub(super) fn clear(&self) {
        self.family.clear();
    }
}

impl<const N: usize> Counters<N> {
    pub(super) fn add(&self, values: [impl Into<Value>; N], count: u64) {
        self.with(values, |counter| counter.inc_by(count));
    }
}

impl<const N: usize> Gauges<N> {
    pub(super) fn add(&self, values: [impl Into<Value>; N], change: i64) {
        self.with(values, |gauge| gauge.inc_by(change));
    }

    pub(super) fn set(&self, values: [impl Into<Value>; N], value: i64) {
        self.with(values, |gauge| gauge.set(value));
    }
}
