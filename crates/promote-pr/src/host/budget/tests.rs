use super::*;

const RULES: Rules =
    Rules { at_once: 2, write_gap: Duration::from_secs(1), write_burst: 3, points: 6000, points_burst: 6000 };
const READ: Kind = Kind { writes: false, graphql: false };
const WRITE: Kind = Kind { writes: true, graphql: false };
const HOUR: Duration = Duration::from_secs(3600);

fn pipeline(name: &str) -> Arc<str> {
    Arc::from(name)
}

fn told(limit: u64, remaining: u64, left: Duration) -> Told {
    Told { window: Some((limit, remaining, left)), ..Told::default() }
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

#[test]
fn limits_are_read_from_headers() {
    let date = ("date", "Mon, 23 Nov 2026 08:00:00 GMT");
    let check = |lines: &[(&'static str, &str)], expect| assert_eq!(Told::of(&headers(lines)).window, expect);
    let github = [("x-ratelimit-limit", "5000"), ("x-ratelimit-remaining", "12"), ("x-ratelimit-reset", "1795421400")];
    check(&[github[0], github[1], github[2], date], Some((5000, 12, Duration::from_secs(600))));
    check(&github, None);
    let draft = [("ratelimit-limit", "600"), ("ratelimit-remaining", "599"), ("ratelimit-reset", "30")];
    check(&draft, Some((600, 599, Duration::from_secs(30))));
    check(&[("x-ratelimit-remaining", "many")], None);
    check(&[], None);
}

#[test]
fn few_are_under_way_and_the_least_busy_pipeline_is_next() {
    let (now, mut ledger) = (Instant::now(), Ledger::new(RULES));
    let (big, small) = (pipeline("a/big"), pipeline("a/small"));
    let of_big: Vec<_> = (0..4).map(|_| ledger.queue(&big, READ)).collect();
    assert_eq!((ledger.turn(now, of_big[0]), ledger.turn(now, of_big[1])), (Turn::Go, Turn::Go));
    let of_small = ledger.queue(&small, READ);
    assert_eq!((ledger.turn(now, of_big[2]), ledger.turn(now, of_small)), (Turn::Queue, Turn::Queue));
    ledger.answered(now, of_big[0], Told::default());
    assert_eq!((ledger.turn(now, of_big[2]), ledger.turn(now, of_small)), (Turn::Queue, Turn::Go));
    ledger.leave(of_big[1]);
    ledger.leave(of_big[2]);
    assert_eq!(ledger.turn(now, of_big[3]), Turn::Go);
}

#[test]
fn writes_keep_their_gap_after_a_burst() {
    let (mut now, mut ledger) = (Instant::now(), Ledger::new(Rules { at_once: 100, ..RULES }));
    let who = pipeline("a/b");
    let mut write = |now| {
        let ticket = ledger.queue(&who, WRITE);
        let turn = ledger.turn(now, ticket);
        ledger.leave(ticket);
        turn
    };
    assert_eq!([write(now), write(now), write(now)], [Turn::Go; 3]);
    assert_eq!(write(now), Turn::Wait(Duration::from_secs(1)));
    now += Duration::from_secs(1);
    assert_eq!((write(now), write(now)), (Turn::Go, Turn::Wait(Duration::from_secs(1))));
}

#[test]
fn a_write_in_its_gap_does_not_hold_a_read() {
    let (now, mut ledger) = (Instant::now(), Ledger::new(Rules { write_burst: 1, ..RULES }));
    let who = pipeline("a/b");
    let first = ledger.queue(&who, WRITE);
    assert_eq!(ledger.turn(now, first), Turn::Go);
    let (write, read) = (ledger.queue(&who, WRITE), ledger.queue(&who, READ));
    assert_eq!((ledger.turn(now, write), ledger.turn(now, read)), (Turn::Wait(Duration::from_secs(1)), Turn::Go));
}

#[test]
fn a_pause_that_the_host_asks_for_holds_everybody() {
    let (now, mut ledger) = (Instant::now(), Ledger::new(RULES));
    let ticket = ledger.queue(&pipeline("a/b"), READ);
    ledger.turn(now, ticket);
    ledger.answered(now, ticket, Told { pause: Some(Duration::from_secs(90)), ..Told::default() });
    let other = ledger.queue(&pipeline("c/d"), READ);
    let Turn::Wait(wait) = ledger.turn(now, other) else { panic!("it goes") };
    assert!(wait >= Duration::from_secs(90) && wait <= Duration::from_secs(150), "{wait:?}");
    assert_eq!(ledger.turn(now + Duration::from_secs(90), other), Turn::Go);
}

#[test]
fn a_window_is_not_spent_ahead_of_time() {
    let (start, mut ledger) = (Instant::now(), Ledger::new(Rules { at_once: 1, ..RULES }));
    let mut remaining = 100;
    let mut ask = |who: &str, kind, now: Instant| {
        let ticket = ledger.queue(&pipeline(who), kind);
        let turn = ledger.turn(now, ticket);
        if turn == Turn::Go {
            remaining -= 1;
            ledger.answered(now, ticket, told(100, remaining, HOUR - now.duration_since(start)));
        }
        ledger.leave(ticket);
        turn
    };
    let free = (0..200).take_while(|_| ask("a/greedy", READ, start) == Turn::Go).count();
    assert_eq!(free, 23);
    // Whoever has to come back gets moments in turn, and a few at most.
    let waits: Vec<_> = (0..12).map(|_| ask("a/greedy", READ, start)).collect();
    assert_eq!(waits.iter().filter(|turn| **turn == waits[11]).count(), 6, "{waits:?}");
    let Turn::Wait(wait) = ask("a/modest", READ, start) else { panic!("it goes") };
    assert!(wait < Duration::from_secs(480), "{wait:?}");
    assert_eq!(ask("a/modest", READ, start + wait), Turn::Go);
    // Writes go on, and after half of the time so does everything.
    assert_eq!(ask("a/greedy", WRITE, start + wait), Turn::Go);
    assert_eq!(ask("a/third", READ, start + HOUR / 2), Turn::Go);
}

#[test]
fn graphql_has_a_window_of_its_own() {
    let (now, mut ledger) = (Instant::now(), Ledger::new(RULES));
    let who = pipeline("a/b");
    let ticket = ledger.queue(&who, READ);
    ledger.turn(now, ticket);
    ledger.answered(now, ticket, told(5000, 0, HOUR));
    let (read, graphql) = (ledger.queue(&who, READ), ledger.queue(&who, Kind { graphql: true, ..WRITE }));
    assert!(matches!(ledger.turn(now, read), Turn::Wait(_)));
    assert_eq!(ledger.turn(now, graphql), Turn::Go);
    assert_eq!(Kind::of(&Method::POST, "/api/graphql"), Kind { writes: true, graphql: true });
}

/// What happens in an hour in which everything about 1,000 open promotions is looked at every minute.
struct Hour {
    /// Requests that the host counted.
    counted: u64,
    /// Requests that it answered with 304.
    free: u64,
    /// Looks that each pipeline got.
    looks: Vec<u32>,
    /// Looks that were sent away, to come back later.
    sent_away: u32,
}

/// GitHub's side: 5,000 requests an hour, where an answer that did not change is free if `conditional`.
fn an_hour(pipelines: usize, promotions_each: impl Fn(usize) -> u32, conditional: bool) -> Hour {
    const LIMIT: u64 = 5000;
    let start = Instant::now();
    let mut ledger = Ledger::new(Rules::of(Provider::GitHub));
    let names: Vec<_> = (0..pipelines).map(|n| pipeline(&format!("team/{n}"))).collect();
    let mut hour = Hour { counted: 0, free: 0, looks: vec![0; pipelines], sent_away: 0 };
    // One entry for each open promotion: when it is looked at next, and whether it was seen before.
    let mut promotions: Vec<(Duration, usize, bool)> = Vec::new();
    for pipeline in 0..pipelines {
        let of_pipeline = (0..promotions_each(pipeline)).map(|_| (Duration::ZERO, pipeline, false));
        promotions.extend(of_pipeline);
    }
    for second in 0..3600 {
        let at = Duration::from_secs(second);
        for (n, (next, who, seen)) in promotions.iter_mut().enumerate().filter(|(_, (next, ..))| *next <= at) {
            let now = start + at;
            let ticket = ledger.queue(&names[*who], READ);
            match ledger.turn(now, ticket) {
                Turn::Go => {
                    // One promotion in a hundred changes between two looks.
                    let free = conditional && *seen && !(u64::try_from(n).unwrap() + second / 60).is_multiple_of(100);
                    let bill = if free { &mut hour.free } else { &mut hour.counted };
                    *bill += 1;
                    assert!(hour.counted <= LIMIT, "the host would refuse this one");
                    let left = told(LIMIT, LIMIT - hour.counted, HOUR - at);
                    ledger.answered(now, ticket, left);
                    hour.looks[*who] += 1;
                    (*next, *seen) = (at + Duration::from_secs(60), true);
                }
                Turn::Wait(wait) => {
                    hour.sent_away += 1;
                    *next = at + wait.max(Duration::from_secs(1));
                }
                Turn::Queue => panic!("nothing else is under way"),
            }
            ledger.leave(ticket);
        }
    }
    println!(
        "{pipelines} pipelines: {} counted, {} free, {} sent away; {} to {} looks at each",
        hour.counted,
        hour.free,
        hour.sent_away,
        hour.looks.iter().min().unwrap(),
        hour.looks.iter().max().unwrap()
    );
    hour
}

#[test]
fn a_thousand_promotions_are_polled_within_the_limit() {
    let hour = an_hour(1000, |_| 1, true);
    assert!(hour.counted < 2000 && hour.free > 30_000, "{} counted, {} free", hour.counted, hour.free);
    let (least, most) = (hour.looks.iter().min().unwrap(), hour.looks.iter().max().unwrap());
    assert!(*least >= 30 && *most <= 60, "{least} to {most} looks");
}

#[test]
fn without_conditional_requests_everybody_gets_a_share() {
    let hour = an_hour(1000, |_| 1, false);
    assert_eq!(hour.counted, 5000);
    assert!(hour.sent_away < 20_000, "{}", hour.sent_away);
    let (least, most) = (hour.looks.iter().min().unwrap(), hour.looks.iter().max().unwrap());
    assert!(*least >= 4 && *most <= 15, "{least} to {most} looks");
}

#[test]
fn a_pipeline_with_most_of_the_promotions_does_not_starve_the_others() {
    let hour = an_hour(101, |pipeline| if pipeline == 0 { 900 } else { 1 }, false);
    let least = hour.looks[1..].iter().min().unwrap();
    assert!(*least >= 10, "{least} looks");
}
