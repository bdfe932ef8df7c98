//! What must be written for a name to vanish, to appear, to move: rules D1 to D8, R1 to R6.

/// What the upper has at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpperName {
    /// Nothing.
    Absent,
    /// A whiteout.
    Whiteout,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// What stands at a name: the upper's part, and whether the lowers would show it without the upper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameInfo {
    /// The upper's part.
    pub upper: UpperName,
    /// Whether the lowers have the name.
    pub lower: bool,
}

impl NameInfo {
    /// Whether the mount shows the name.
    pub fn visible(&self) -> bool {
        match self.upper {
            UpperName::Absent => self.lower,
            UpperName::Whiteout => false,
            UpperName::Directory | UpperName::Other => true,
        }
    }

    /// Whether the upper has the shown object itself.
    pub fn in_upper(&self) -> bool {
        matches!(self.upper, UpperName::Directory | UpperName::Other)
    }
}

/// What one step in the upper can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means {
    /// Two names can be exchanged.
    pub exchange: bool,
    /// A rename can leave a whiteout, in the form that is written, at the old name.
    pub leave_whiteout: bool,
    /// Whiteouts are written beside their name, where they hide it in the lowers only.
    pub beside: bool,
}

impl Means {
    /// Those of a filesystem that can all, with whiteouts that are devices.
    pub const ALL: Means = Means { exchange: true, leave_whiteout: true, beside: false };
}

/// How a visible name vanishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalPlan {
    /// Remove it from the upper.
    Remove,
    /// Put a whiteout where the upper has nothing.
    Whiteout,
    /// Replace the upper's file by a whiteout in one step.
    ReplaceFile,
    /// Exchange the upper's directory for a whiteout in one step, then remove it.
    ExchangeDirectory,
    /// Empty the upper's directory of its whiteouts, out of sight, and remove it.
    RemoveDirectory,
    /// Hide the lowers by a whiteout beside the name, which shows nothing of it yet, then remove the
    /// upper's file.
    HideThenRemove,
    /// The same with a directory, which is taken out of sight and then removed.
    HideThenTakeAway,
}

/// The plan to remove a visible name.
pub fn plan_removal(name: NameInfo, means: Means) -> RemovalPlan {
    match (name.upper, name.lower) {
        (UpperName::Other, false) => RemovalPlan::Remove,
        (UpperName::Other, true) if means.beside => RemovalPlan::HideThenRemove,
        (UpperName::Other, true) => RemovalPlan::ReplaceFile,
        (UpperName::Directory, false) => RemovalPlan::RemoveDirectory,
        (UpperName::Directory, true) if means.beside || !means.exchange => RemovalPlan::HideThenTakeAway,
        (UpperName::Directory, true) => RemovalPlan::ExchangeDirectory,
        (UpperName::Absent | UpperName::Whiteout, _) => RemovalPlan::Whiteout,
    }
}

/// How a name appears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreationPlan {
    /// Make it in place.
    Direct,
    /// Stage it and rename it over the whiteout.
    ReplaceWhiteout,
    /// Stage an opaque directory, exchange it for the whiteout, remove the whiteout.
    ExchangeWhiteout,
    /// Have the whiteout beside the name, stage the object (a directory opaque), give it the name,
    /// remove the whiteout.
    BesideWhiteout,
}

/// The plan to make an object at a name that is not visible.
pub fn plan_creation(name: NameInfo, directory: bool, means: Means) -> CreationPlan {
    match (name.upper, directory) {
        (UpperName::Whiteout, _) if means.beside => CreationPlan::BesideWhiteout,
        (UpperName::Whiteout, true) if !means.exchange => CreationPlan::BesideWhiteout,
        (UpperName::Whiteout, false) => CreationPlan::ReplaceWhiteout,
        (UpperName::Whiteout, true) => CreationPlan::ExchangeWhiteout,
        _ => CreationPlan::Direct,
    }
}

/// What is to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// A directory that only the upper has.
    PureDirectory,
    /// A directory with a part in a lower.
    MergedDirectory,
    /// A regular file whose data is or may stay in a lower.
    Metacopy,
    /// Anything else.
    Other,
}

/// The mark an object needs before it moves, so that it shows the same at the new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveMark {
    /// None.
    None,
    /// It must hide what the lowers have at the new name.
    Opaque,
    /// It must name where its lower part is.
    Redirect,
}

/// The mark that `moved` needs to stand at a name which the lowers have or have not.
pub fn mark_to_move(moved: Moved, lower_at_target: bool) -> MoveMark {
    match moved {
        Moved::MergedDirectory | Moved::Metacopy => MoveMark::Redirect,
        Moved::PureDirectory if lower_at_target => MoveMark::Opaque,
        Moved::PureDirectory | Moved::Other => MoveMark::None,
    }
}

/// The one rename in the upper that moves an object, and what comes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenamePlan {
    /// Rename over whatever is there.
    Replace,
    /// The same, and leave a whiteout at the old name.
    ReplaceLeavingWhiteout,
    /// Exchange with the whiteout at the target, which then hides the old name.
    SwapWhiteout,
    /// Exchange with the whiteout at the target, then remove it from the old name.
    SwapAndDropWhiteout,
    /// Empty the target directory of its whiteouts first, then as [`RenamePlan::Replace`].
    ClearThenReplace,
    /// Empty the target directory of its whiteouts first, then as [`RenamePlan::ReplaceLeavingWhiteout`].
    ClearThenLeaveWhiteout,
    /// With nothing but a plain rename: whiteouts beside the names hide the lowers of the old name, and
    /// of a target that is a whiteout or a directory of whiteouts, without changing what is shown; then
    /// the target is cleared, the object renamed, and the whiteouts are tidied up.
    Guarded,
}

/// The plan to move a visible object, already in the upper, to `to`. The caller has refused what
/// rename(2) refuses (kinds that do not match, a directory that is not empty).
pub fn plan_rename(from: NameInfo, directory: bool, to: NameInfo, means: Means) -> RenamePlan {
    let swap = means.exchange && !means.beside;
    // The whiteout of a swap is at the old name for a moment, where an xattr form may not be read.
    let drop_swapped = swap && means.leave_whiteout;
    match (directory, to.upper, from.lower) {
        (true, UpperName::Whiteout, true) if swap => RenamePlan::SwapWhiteout,
        (false, UpperName::Whiteout, true) if swap && !means.leave_whiteout => RenamePlan::SwapWhiteout,
        (true, UpperName::Whiteout, false) if drop_swapped => RenamePlan::SwapAndDropWhiteout,
        (true, UpperName::Whiteout, _) => RenamePlan::Guarded,
        (false, UpperName::Whiteout, _) if means.beside => RenamePlan::Guarded,
        (true, UpperName::Directory, false) if swap => RenamePlan::ClearThenReplace,
        (true, UpperName::Directory, true) if drop_swapped => RenamePlan::ClearThenLeaveWhiteout,
        (true, UpperName::Directory, _) => RenamePlan::Guarded,
        (_, _, false) => RenamePlan::Replace,
        (_, _, true) if means.leave_whiteout => RenamePlan::ReplaceLeavingWhiteout,
        (_, _, true) => RenamePlan::Guarded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [UpperName; 4] =
        [UpperName::Absent, UpperName::Whiteout, UpperName::Directory, UpperName::Other];

    fn every_means() -> impl Iterator<Item = Means> {
        (0..8).map(|n| Means { exchange: n & 1 != 0, leave_whiteout: n & 2 != 0, beside: n & 4 != 0 })
    }

    fn check_plan(plan: RenamePlan, means: Means, from_lower: bool) {
        use RenamePlan::{ClearThenLeaveWhiteout, ClearThenReplace, Guarded, ReplaceLeavingWhiteout};
        use RenamePlan::{SwapAndDropWhiteout, SwapWhiteout};
        let hides = matches!(plan, ReplaceLeavingWhiteout | SwapWhiteout | ClearThenLeaveWhiteout);
        assert!(plan == Guarded || hides == from_lower, "{plan:?} {means:?}");
        let leaves = matches!(plan, ReplaceLeavingWhiteout | ClearThenLeaveWhiteout);
        assert!(means.leave_whiteout || !leaves, "{plan:?} {means:?}");
        let clears = matches!(plan, ClearThenReplace | ClearThenLeaveWhiteout);
        let swaps = matches!(plan, SwapWhiteout | SwapAndDropWhiteout);
        assert!(means.exchange || !(clears || swaps), "{plan:?} {means:?}");
        assert!(means != Means::ALL || plan != Guarded, "{plan:?}");
    }

    #[test]
    fn d1_d2_d3_a_whiteout_is_left_exactly_where_a_lower_has_the_name() {
        for upper in ALL {
            for lower in [false, true] {
                let name = NameInfo { upper, lower };
                if name.visible() {
                    for means in every_means() {
                        let plan = plan_removal(name, means);
                        let plain = matches!(plan, RemovalPlan::Remove | RemovalPlan::RemoveDirectory);
                        assert_eq!(plain, !lower, "{name:?} {means:?}");
                        assert!(means.exchange || plan != RemovalPlan::ExchangeDirectory);
                    }
                }
            }
        }
    }

    #[test]
    fn d8_whiteouts_are_replaced_and_directories_over_them_are_exchanged() {
        for lower in [false, true] {
            let whiteout = NameInfo { upper: UpperName::Whiteout, lower };
            assert_eq!(plan_creation(whiteout, false, Means::ALL), CreationPlan::ReplaceWhiteout);
            assert_eq!(plan_creation(whiteout, true, Means::ALL), CreationPlan::ExchangeWhiteout);
            let beside = Means { beside: true, ..Means::ALL };
            assert_eq!(plan_creation(whiteout, false, beside), CreationPlan::BesideWhiteout);
            let no_exchange = Means { exchange: false, ..Means::ALL };
            assert_eq!(plan_creation(whiteout, true, no_exchange), CreationPlan::BesideWhiteout);
        }
        let nothing = NameInfo { upper: UpperName::Absent, lower: false };
        assert_eq!(plan_creation(nothing, true, Means::ALL), CreationPlan::Direct);
    }

    #[test]
    fn r2_the_old_name_stays_hidden_exactly_where_a_lower_has_it() {
        for directory in [false, true] {
            for upper in ALL {
                for lower in [false, true] {
                    for from_lower in [false, true] {
                        let from = NameInfo { upper: UpperName::Other, lower: from_lower };
                        for means in every_means() {
                            let plan = plan_rename(from, directory, NameInfo { upper, lower }, means);
                            check_plan(plan, means, from_lower);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn r3_r5_marks_before_a_move() {
        assert_eq!(mark_to_move(Moved::PureDirectory, true), MoveMark::Opaque);
        assert_eq!(mark_to_move(Moved::PureDirectory, false), MoveMark::None);
        for lower in [false, true] {
            assert_eq!(mark_to_move(Moved::MergedDirectory, lower), MoveMark::Redirect);
            assert_eq!(mark_to_move(Moved::Metacopy, lower), MoveMark::Redirect);
            assert_eq!(mark_to_move(Moved::Other, lower), MoveMark::None);
        }
    }
}
