//! What may go wrong with one request, and the plan that says when. A plan is decided by one seed.

use std::time::Duration;

use tidegate::embedded::registry::Habit;

use super::chance::Chance;
use super::trouble::Spell;

/// How far a request came before its process died, stopped, or lost the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It never reached the server.
    Lost,
    /// It was done, and nobody heard the answer.
    Applied,
}

/// One fault of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies.
    Die(Form),
    /// The process is stopped as by SIGSTOP for so long; the request leaves when it goes on, or left just before.
    Stop(Form, Duration),
    /// This status is the answer, instead of the true one.
    Answer(Form, u16),
    /// No answer ever comes: a half-open connection.
    Silent(Form),
    /// The connection breaks.
    Broken(Form),
    /// The way there takes so long.
    Slow(Duration),
    /// The answer is so many revisions old.
    Stale(u64),
    /// What becomes of the events of a watch.
    Watch(WatchFault),
    /// CI builds a tag anew, just before the request or just after it.
    Moved(Form),
}

/// What becomes of the events of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchFault {
    /// 410 instead of a watch.
    Gone,
    /// One never comes.
    Skip(u32),
    /// One comes twice.
    Twice(u32),
    /// One comes after the next.
    Swap(u32),
    /// The watch ends after so many.
    Ends(u32),
}

/// What kind of request it is, and so what may happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Read,
    Watch,
    Write,
    Registry,
}

/// When what goes wrong.
#[derive(Clone, Debug, Default)]
pub enum Plan {
    #[default]
    Nothing,
    /// At one request.
    At(u64, Fault),
    /// At every request between two numbers.
    Each(u64, u64, Fault),
    /// By chance, until a request's number.
    Chance(Chance),
    /// The registry is in trouble for a while.
    Spell(Spell),
    /// The registry has a habit, for ever.
    Habit(Habit),
}

/// Faults that a replay names.
pub const NAMED: [(&str, Fault); 11] = [
    ("lost", Fault::Die(Form::Lost)),
    ("applied", Fault::Die(Form::Applied)),
    ("silent", Fault::Silent(Form::Lost)),
    ("silent-applied", Fault::Silent(Form::Applied)),
    ("broken-applied", Fault::Broken(Form::Applied)),
    ("503", Fault::Answer(Form::Lost, 503)),
    ("504-applied", Fault::Answer(Form::Applied, 504)),
    ("409", Fault::Answer(Form::Lost, 409)),
    ("stale", Fault::Stale(4)),
    ("moved-before", Fault::Moved(Form::Lost)),
    ("moved-after", Fault::Moved(Form::Applied)),
];
/// Of those, how many kill the process: they stand first.
pub const DEADLY: usize = 2;
/// Of those, how many come next, and leave the world as it is.
pub const HARMLESS: usize = 7;

// === impl Fault ===

impl Fault {
    /// The name that it is counted under.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Die(Form::Lost) => "died, request lost",
            Self::Die(Form::Applied) => "died, reply lost",
            Self::Stop(..) => "process stopped",
            Self::Answer(Form::Applied, _) => "error but applied",
            Self::Answer(Form::Lost, 409) => "409",
            Self::Answer(Form::Lost, 429) => "429",
            Self::Answer(Form::Lost, _) => "5xx",
            Self::Silent(_) => "half-open",
            Self::Broken(_) => "connection broken",
            Self::Slow(_) => "slow",
            Self::Stale(_) => "stale read",
            Self::Watch(WatchFault::Gone) => "410",
            Self::Watch(WatchFault::Ends(_)) => "watch ended",
            Self::Watch(_) => "watch event skipped, doubled or late",
            Self::Moved(_) => "tag moved",
        }
    }
}

// === impl Plan ===

impl Plan {
    /// Faults by chance; everything about them comes from the seed.
    pub fn of(seed: u64) -> Self {
        Self::Chance(Chance::of(seed))
    }

    /// Requests that are late and processes that stop, by chance. With `at_targets` every other process that is about to
    /// write over a target stops for longer than a lease.
    pub fn of_delays(seed: u64, at_targets: bool) -> Self {
        Self::Chance(Chance::of_delays(seed, at_targets))
    }

    /// What happens to request `number`, which is `what`.
    pub fn fault(&mut self, number: u64, class: Class, what: &str) -> Option<Fault> {
        match self {
            Self::Nothing | Self::Spell(_) | Self::Habit(_) => None,
            Self::At(at, fault) => (*at == number).then_some(*fault),
            Self::Each(from, to, fault) => (*from..=*to).contains(&number).then_some(*fault),
            Self::Chance(chance) => chance.fault(number, class, what),
        }
    }

    /// The registry's trouble that begins with request `number`, if none is going on.
    pub fn spell(&mut self, number: u64) -> Option<Spell> {
        match self {
            Self::Spell(spell) => (spell.from == number).then_some(*spell),
            Self::Chance(chance) => chance.spell(number),
            _ => None,
        }
    }

    /// Whether nothing will go wrong any more, once `number` requests were sent. A spell that began is not asked for.
    pub fn is_over(&self, number: u64) -> bool {
        match self {
            Self::Nothing | Self::Habit(_) => true,
            Self::At(at, _) | Self::Each(_, at, _) => number >= *at,
            Self::Spell(spell) => number >= spell.from,
            Self::Chance(chance) => chance.is_over(number),
        }
    }

    /// No more faults.
    pub fn end(&mut self) {
        if let Self::Chance(chance) = self {
            chance.stop();
        }
    }
}
