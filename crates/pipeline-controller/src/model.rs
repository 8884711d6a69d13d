//! Random worlds with random faults, driven through `decide` and `conclude`: what must hold whatever happens.
//!
//! `cargo xtask fuzz decide` runs many more cases than the tests do.

mod hosts;
mod promises;
mod receiver;
mod world;

use proptest::prelude::*;

use self::world::{Action, Fault, World};

/// What may happen, one thing after the other.
fn actions() -> impl Strategy<Value = Vec<Action>> {
    let environment = 0..4_usize;
    let fault = prop_oneof![
        6 => Just(Fault::None),
        1 => Just(Fault::CrashBefore),
        1 => Just(Fault::CrashAfter),
        1 => Just(Fault::AnswerLost),
        1 => Just(Fault::Unreachable),
        1 => Just(Fault::Refused),
    ];
    let action = prop_oneof![
        12 => fault.prop_map(Action::Reconcile),
        4 => (environment.clone(), 0..2_usize, 0..4_u8, any::<bool>()).prop_map(|(e, t, r, ready)| Action::Runs(e, t, r, ready)),
        4 => (0..4_u8).prop_map(Action::Releases),
        1 => (environment.clone(), 0..2_usize).prop_map(|(e, t)| Action::Unreadable(e, t)),
        3 => any::<prop::sample::Index>().prop_map(Action::Merge),
        1 => any::<prop::sample::Index>().prop_map(Action::Close),
        3 => environment.clone().prop_map(Action::Deploys),
        2 => (environment.clone(), 0..4_u8).prop_map(|(e, r)| Action::Approve(e, r)),
        2 => environment.clone().prop_map(Action::ApproveWaiting),
        1 => Just(Action::Ask),
        2 => (1..4000_u32).prop_map(Action::Pass),
        2 => (environment, 0..3_u8).prop_map(|(e, state)| Action::Reports(e, state)),
        1 => Just(Action::ToggleManual),
        1 => Just(Action::ToggleSuspend),
        1 => Just(Action::ToggleDowngrade),
        1 => Just(Action::ToggleDeletionPolicy),
        1 => (0..4_u8).prop_map(Action::Promotion),
        1 => (0..6_u8).prop_map(Action::Environments),
    ];
    prop::collection::vec(action, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_promotions_keep_their_promises(actions in actions()) {
        let mut world = World::new();
        for action in &actions {
            world.happens(action);
        }
        world.comes_to_rest();
    }

    #[test]
    fn what_people_merge_and_approve_arrives_everywhere(actions in actions()) {
        let mut world = World::new();
        for action in &actions {
            world.happens(action);
        }
        world.is_helped_to_its_end();
    }
}

/// A few hundred, or as many as `PROPTEST_CASES` says.
fn cases() -> u32 {
    let default = ProptestConfig::default().cases;
    default.max(300)
}
