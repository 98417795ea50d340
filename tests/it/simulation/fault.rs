//! What may go wrong with one request, and the plan that says when. A plan is decided by one seed.

use std::time::Duration;

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
}

/// Faults by chance.
#[derive(Clone, Debug)]
pub struct Chance {
    rng: fastrand::Rng,
    /// One of so many requests meets a fault.
    one_of: u64,
    until: u64,
    /// Deaths and stops that are left: each costs the time of a lease.
    ends_left: u32,
    /// Requests are late and processes stop; nothing else happens.
    is_late_only: bool,
    /// Of so many requests in a row each meets the same answer: a storm.
    storm: Option<(u64, Fault)>,
}

/// Faults that a replay names.
pub const NAMED: [(&str, Fault); 9] = [
    ("lost", Fault::Die(Form::Lost)),
    ("applied", Fault::Die(Form::Applied)),
    ("silent", Fault::Silent(Form::Lost)),
    ("silent-applied", Fault::Silent(Form::Applied)),
    ("broken-applied", Fault::Broken(Form::Applied)),
    ("503", Fault::Answer(Form::Lost, 503)),
    ("504-applied", Fault::Answer(Form::Applied, 504)),
    ("409", Fault::Answer(Form::Lost, 409)),
    ("stale", Fault::Stale(4)),
];

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
        }
    }
}

// === impl Plan ===

impl Plan {
    /// Faults by chance; everything about them comes from the seed.
    pub fn of(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let one_of = rng.choice([3, 6, 12, 30]).unwrap_or(6);
        let until = rng.u64(40..240);
        let ends_left = rng.u32(0..4);
        Self::Chance(Chance { rng, one_of, until, ends_left, is_late_only: false, storm: None })
    }

    /// Requests that are late and processes that stop, by chance.
    pub fn of_delays(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let one_of = rng.choice([2, 4, 8]).unwrap_or(4);
        Self::Chance(Chance { rng, one_of, until: u64::MAX, ends_left: 0, is_late_only: true, storm: None })
    }

    /// What happens to request `number`.
    pub fn fault(&mut self, number: u64, class: Class) -> Option<Fault> {
        match self {
            Self::Nothing => None,
            Self::At(at, fault) => (*at == number).then_some(*fault),
            Self::Each(from, to, fault) => (*from..=*to).contains(&number).then_some(*fault),
            Self::Chance(chance) => chance.fault(number, class),
        }
    }

    /// Whether nothing will go wrong any more, once `number` requests were sent.
    pub fn is_over(&self, number: u64) -> bool {
        match self {
            Self::Nothing => true,
            Self::At(at, _) | Self::Each(_, at, _) => number >= *at,
            Self::Chance(chance) => number >= chance.until,
        }
    }

    /// No more faults.
    pub fn end(&mut self) {
        if let Self::Chance(chance) = self {
            chance.until = 0;
        }
    }
}

// === impl Chance ===

impl Chance {
    fn fault(&mut self, number: u64, class: Class) -> Option<Fault> {
        if number > self.until {
            return None;
        }
        if let Some((until, fault)) = self.storm {
            if number <= until {
                return Some(fault);
            }
            self.storm = None;
        }
        if self.rng.u64(0..self.one_of) > 0 {
            return None;
        }
        if self.is_late_only {
            return Some(self.late());
        }
        let fault = match class {
            Class::Watch => self.of_watch(),
            Class::Read => self.of_read(),
            Class::Write => self.of_write(),
            Class::Registry => self.of_registry(),
        };
        if let Fault::Answer(Form::Lost, _) = fault
            && self.rng.u32(0..4) == 0
        {
            self.storm = Some((number + self.rng.u64(2..12), fault));
        }
        Some(fault)
    }

    fn form(&mut self) -> Form {
        if self.rng.bool() { Form::Lost } else { Form::Applied }
    }

    /// A death or a stop, while any is left.
    fn end(&mut self) -> Fault {
        let form = self.form();
        if self.ends_left == 0 {
            return Fault::Broken(form);
        }
        self.ends_left -= 1;
        if self.rng.u32(0..3) == 0 {
            // Longer and shorter than a lease and a renewal.
            Fault::Stop(form, Duration::from_secs(self.rng.u64(1..60)))
        } else {
            Fault::Die(form)
        }
    }

    fn late(&mut self) -> Fault {
        if self.rng.bool() {
            return self.slow();
        }
        Fault::Stop(self.form(), Duration::from_millis(self.rng.u64(100..40_000)))
    }

    fn slow(&mut self) -> Fault {
        Fault::Slow(Duration::from_millis(self.rng.u64(1..12_000)))
    }

    fn code(&mut self, codes: &[u16]) -> u16 {
        codes.get(self.rng.usize(0..codes.len())).copied().unwrap_or(500)
    }

    fn of_read(&mut self) -> Fault {
        match self.rng.u32(0..8) {
            0 => self.end(),
            1 => Fault::Silent(Form::Lost),
            2 => Fault::Broken(Form::Lost),
            3 => self.slow(),
            4 | 5 => Fault::Stale(self.rng.u64(1..8)),
            _ => Fault::Answer(Form::Lost, self.code(&[429, 500, 503, 504])),
        }
    }

    fn of_watch(&mut self) -> Fault {
        let event = self.rng.u32(0..4);
        match self.rng.u32(0..9) {
            0 => Fault::Watch(WatchFault::Gone),
            1 | 2 => Fault::Watch(WatchFault::Skip(event)),
            3 => Fault::Watch(WatchFault::Twice(event)),
            4 | 5 => Fault::Watch(WatchFault::Swap(event)),
            6 => Fault::Watch(WatchFault::Ends(event)),
            7 => Fault::Silent(Form::Lost),
            _ => Fault::Answer(Form::Lost, self.code(&[429, 500, 503])),
        }
    }

    fn of_write(&mut self) -> Fault {
        match self.rng.u32(0..10) {
            0..=2 => self.end(),
            3 => Fault::Silent(self.form()),
            4 => Fault::Broken(self.form()),
            5 => self.slow(),
            6 => Fault::Answer(Form::Lost, 409),
            7 => Fault::Answer(Form::Lost, self.code(&[429, 500, 503, 504])),
            _ => Fault::Answer(Form::Applied, self.code(&[500, 503, 504])),
        }
    }

    fn of_registry(&mut self) -> Fault {
        match self.rng.u32(0..7) {
            0 => self.end(),
            1 => Fault::Silent(Form::Lost),
            2 => Fault::Broken(self.form()),
            3 => self.slow(),
            _ => Fault::Answer(Form::Lost, self.code(&[401, 429, 500, 503])),
        }
    }
}
