//! Who waits for a host, and whose turn it is. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Most that wait for one asker: a confirming look at 32 images × 16 platforms and their tags asks 544 times.
pub(crate) const PER_ASKER_MAX: usize = 1_024;
/// Most that wait for one host, about 3 MiB: 500 requests a second for the 30 s of a look are 15,000.
pub(crate) const PER_HOST_MAX: usize = 16_384;

/// Asks in line: those that go first, then the others.
pub(crate) struct Queue<T> {
    first: Round<T>,
    rest: Round<T>,
}

/// Askers take turns, and each asker's own come in their order.
struct Round<T> {
    /// Ordered, so that nothing depends on how a map hashes.
    lines: BTreeMap<Arc<str>, VecDeque<T>>,
    /// Askers with a line, the next one first.
    turns: VecDeque<Arc<str>>,
    len: usize,
}

// === impl Queue ===

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { first: Round::default(), rest: Round::default() }
    }
}

impl<T> Queue<T> {
    fn len(&self) -> usize {
        self.first.len + self.rest.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts one at the end of its asker's line; gives it back when there is no room.
    pub(crate) fn push(&mut self, asker: &Arc<str>, is_first: bool, waiting: T) -> Result<(), T> {
        if self.len() >= PER_HOST_MAX {
            return Err(waiting);
        }
        if is_first { self.first.push(asker, waiting) } else { self.rest.push(asker, waiting) }
    }

    /// The first of the asker whose turn it is; the asker goes to the end of the turns.
    pub(crate) fn pop(&mut self) -> Option<(Arc<str>, T)> {
        self.first.pop().or_else(|| self.rest.pop())
    }

    /// Takes out all that fit, in the order of their askers' names.
    pub(crate) fn take_if(&mut self, fits: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = self.first.take_if(&fits);
        taken.extend(self.rest.take_if(&fits));
        taken
    }
}

// === impl Round ===

impl<T> Default for Round<T> {
    fn default() -> Self {
        Self { lines: BTreeMap::new(), turns: VecDeque::new(), len: 0 }
    }
}

impl<T> Round<T> {
    fn push(&mut self, asker: &Arc<str>, waiting: T) -> Result<(), T> {
        match self.lines.get_mut(asker) {
            Some(line) if line.len() >= PER_ASKER_MAX => return Err(waiting),
            Some(line) => line.push_back(waiting),
            None => {
                self.lines.insert(Arc::clone(asker), VecDeque::from([waiting]));
                self.turns.push_back(Arc::clone(asker));
            }
        }
        self.len += 1;
        Ok(())
    }

    fn pop(&mut self) -> Option<(Arc<str>, T)> {
        let asker = self.turns.pop_front()?;
        let line = self.lines.get_mut(&asker)?;
        let first = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&asker);
        } else {
            self.turns.push_back(Arc::clone(&asker));
        }
        self.len -= 1;
        Some((asker, first))
    }

    fn take_if(&mut self, fits: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for line in self.lines.values_mut() {
            let (out, stays): (VecDeque<T>, _) = std::mem::take(line).into_iter().partition(|one| fits(one));
            taken.extend(out);
            *line = stays;
        }
        self.lines.retain(|_, line| !line.is_empty());
        self.turns.retain(|asker| self.lines.contains_key(asker));
        self.len -= taken.len();
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(number: usize) -> Arc<str> {
        format!("set-{number}").into()
    }

    #[test]
    fn askers_take_turns_however_long_their_lines() {
        let mut queue = Queue::default();
        (0..100).for_each(|number| queue.push(&name(0), false, (0, number)).unwrap());
        (1..4).for_each(|asker| queue.push(&name(asker), false, (asker, 0)).unwrap());
        let order: Vec<(usize, i32)> =
            std::iter::from_fn(|| queue.pop().map(|(_, waiting)| waiting)).collect();
        assert_eq!(order[..6], [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (0, 2)]);
        assert_eq!((order.len(), queue.len()), (103, 0));
    }

    #[test]
    fn what_goes_first_does_so_whoever_waits() {
        let mut queue = Queue::default();
        (0..3).for_each(|number| queue.push(&name(0), false, number).unwrap());
        (10..12).for_each(|number| queue.push(&name(0), true, number).unwrap());
        queue.push(&name(1), true, 20).unwrap();
        assert_eq!(queue.take_if(|number| *number == 1), [1]);
        let order: Vec<i32> = std::iter::from_fn(|| queue.pop().map(|(_, waiting)| waiting)).collect();
        assert_eq!(order, [10, 20, 11, 0, 2]);
        assert!(queue.is_empty());
    }

    #[test]
    fn lines_end_somewhere() {
        let mut queue = Queue::default();
        for number in 0..PER_ASKER_MAX {
            queue.push(&name(0), false, number).unwrap();
        }
        assert_eq!(queue.push(&name(0), false, 7), Err(7), "no room in this line");
        queue.push(&name(1), false, 0).unwrap();
        for asker in 2..100 {
            let _room = (0..PER_ASKER_MAX).all(|number| queue.push(&name(asker), false, number).is_ok());
        }
        assert_eq!(queue.len(), PER_HOST_MAX);
        assert_eq!(queue.push(&name(100), false, 7), Err(7), "no room at all");
    }

    proptest! {
        /// Between two turns of an asker that has a line, every other asker has at most one.
        #[test]
        fn nobody_waits_longer_than_one_round(lines in prop::collection::vec(1_usize..20, 1..20)) {
            let mut queue = Queue::default();
            for (asker, &length) in lines.iter().enumerate() {
                (0..length).for_each(|number| queue.push(&name(asker), false, (asker, number)).unwrap());
            }
            let taken = queue.take_if(|(_, number)| number % 5 == 4);
            let left: usize = lines.iter().sum::<usize>() - taken.len();
            prop_assert_eq!(queue.len(), left);
            let order: Vec<(usize, usize)> =
                std::iter::from_fn(|| queue.pop().map(|(_, waiting)| waiting)).collect();
            prop_assert_eq!(order.len(), left);
            for asker in 0..lines.len() {
                let places: Vec<usize> = (0..order.len()).filter(|&place| order[place].0 == asker).collect();
                for pair in places.windows(2) {
                    prop_assert!(pair[1] - pair[0] <= lines.len(), "{asker} waited {pair:?}");
                }
            }
        }
    }
}
