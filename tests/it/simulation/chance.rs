//! Faults by chance: which request meets what, all from one seed.

use std::collections::VecDeque;
use std::time::Duration;

use super::fault::{Class, Fault, Form, WatchFault};
use super::trouble::Spell;

/// Sets the dice of troubles apart from those of single requests.
const SPELLS_APART: u64 = 0x5EA_50FA;

/// One of so many requests is late where stops at targets are what is looked at.
const SELDOM: u64 = 40;

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
    /// Processes stop where they are about to write over a target.
    at_targets: bool,
    /// Of so many requests in a row each meets the same answer: a storm.
    storm: Option<(u64, Fault)>,
    /// Troubles of the registry that are still to come, in order.
    spells: VecDeque<Spell>,
}

// === impl Chance ===

impl Chance {
    /// Faults of every kind; two of three schedules also have troubles of the registry, one to three.
    pub fn of(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let one_of = rng.choice([3, 6, 12, 30]).unwrap_or(6);
        let until = rng.u64(40..240);
        let ends_left = rng.u32(0..4);
        // Dice of their own: what else a seed says stays as it was without them.
        let mut dice = fastrand::Rng::with_seed(seed ^ SPELLS_APART);
        let count = if seed.is_multiple_of(3) { 0 } else { dice.u32(1..4) };
        let mut spells: Vec<Spell> = (0..count).map(|_| Spell::by_chance(&mut dice, until)).collect();
        spells.sort_by_key(|spell| spell.from);
        Self {
            rng,
            one_of,
            until,
            ends_left,
            is_late_only: false,
            at_targets: false,
            storm: None,
            spells: spells.into(),
        }
    }

    /// Requests that are late and processes that stop.
    pub fn of_delays(seed: u64, at_targets: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let often = rng.choice([2, 4, 8]).unwrap_or(4);
        // Who stopped is to be overtaken by who did not.
        let one_of = if at_targets { SELDOM } else { often };
        let (until, spells) = (u64::MAX, VecDeque::new());
        Self { rng, one_of, until, ends_left: 0, is_late_only: true, at_targets, storm: None, spells }
    }

    /// The next trouble, once its request or a later one is sent.
    pub fn spell(&mut self, number: u64) -> Option<Spell> {
        self.spells.pop_front_if(|spell| spell.from <= number)
    }

    /// See [`Plan::is_over`](super::fault::Plan::is_over).
    pub fn is_over(&self, number: u64) -> bool {
        number >= self.until && self.spells.is_empty()
    }

    /// No more faults.
    pub fn stop(&mut self) {
        self.until = 0;
        self.spells.clear();
    }

    pub fn fault(&mut self, number: u64, class: Class, what: &str) -> Option<Fault> {
        if number > self.until {
            return None;
        }
        if let Some((until, fault)) = self.storm {
            if number <= until {
                return Some(fault);
            }
            self.storm = None;
        }
        if self.at_targets && what.starts_with("PUT") && what.contains("/configmaps/") && self.rng.bool() {
            return Some(Fault::Stop(Form::Lost, Duration::from_secs(self.rng.u64(20..60))));
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
