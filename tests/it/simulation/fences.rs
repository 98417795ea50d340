//! What keeps a late write from being done, and worlds without it.

use std::fmt;

/// One thing that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// The CRD's transition rule on `status`.
    Rule,
    /// The API server compares resourceVersion and uid of a PUT of a set's status with the object's. Without it every PUT
    /// is taken, as by a client that reads again and sends the same.
    StatusRevision,
    /// The same of every other PUT but the lease's.
    OtherRevisions,
    /// Only who holds the lease acts. Without it every controller acts all the time.
    Election,
}

/// All of them, but for some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fences {
    /// One bit for each that is away.
    away: u8,
}

// === impl Fence ===

impl Fence {
    const EACH: [Self; 4] = [Self::Rule, Self::StatusRevision, Self::OtherRevisions, Self::Election];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

// === impl Fences ===

impl Fences {
    /// As in production.
    pub const ALL: Self = Self { away: 0 };

    pub const fn without(fence: Fence) -> Self {
        Self::ALL.nor(fence)
    }

    /// Without that one either.
    pub const fn nor(self, fence: Fence) -> Self {
        Self { away: self.away | fence.bit() }
    }

    pub fn hold(self, fence: Fence) -> bool {
        self.away & fence.bit() == 0
    }

    /// From what `Display` wrote.
    pub fn parse(text: &str) -> Self {
        let away = Fence::EACH.into_iter().filter(|fence| text.contains(&format!("{fence:?}")));
        away.fold(Self::ALL, Self::nor)
    }
}

impl fmt::Display for Fences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let away = Fence::EACH.into_iter().filter(|fence| !self.hold(*fence));
        let names: Vec<String> = away.map(|fence| format!("{fence:?}")).collect();
        f.write_str(&names.join("+"))
    }
}
