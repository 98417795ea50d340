//! The tags of one repository, as a registry lists them: tens of thousands, so in one piece of memory.

use crate::model::sighting::Doubt;

/// Raw tags in the order of their first appearance. Discovery, never evidence (design §4 Look).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagList {
    /// The tags, each followed by a line break, which no tag can hold.
    text: String,
    count: usize,
    /// Why there may be more tags than these: the rest of the list could not be read. What was read is known
    /// all the same, and what is not in it is not missing.
    pub incomplete: Option<Doubt>,
}

// === impl TagList ===

impl TagList {
    /// Adds a tag, unless it is empty or of more than one line; returns where it lies, for [`Self::at`].
    pub fn push(&mut self, tag: &str) -> Option<usize> {
        if tag.is_empty() || tag.contains('\n') {
            return None;
        }
        let place = self.text.len();
        self.text.push_str(tag);
        self.text.push('\n');
        self.count += 1;
        Some(place)
    }

    /// The tag that was put at `place`.
    pub fn at(&self, place: usize) -> Option<&str> {
        self.text.get(place..)?.split('\n').next().filter(|tag| !tag.is_empty())
    }

    /// Every tag.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.text.split_terminator('\n')
    }

    /// How many tags.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True without any tag.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Memory of its text.
    pub fn size_bytes(&self) -> usize {
        self.text.capacity()
    }

    /// Gives back memory that is not needed: for a list that is kept.
    pub fn shrink(&mut self) {
        self.text.shrink_to_fit();
    }
}

impl<T: AsRef<str>> FromIterator<T> for TagList {
    fn from_iter<I: IntoIterator<Item = T>>(tags: I) -> Self {
        let mut list = Self::default();
        for tag in tags {
            list.push(tag.as_ref());
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_gives_back_what_was_put_in() {
        let mut list = TagList::default();
        assert!(list.is_empty() && list.iter().next().is_none());
        let places: Vec<usize> = ["v1", "v2-debian"].iter().filter_map(|tag| list.push(tag)).collect();
        assert_eq!((list.push(""), list.push("a\nb")), (None, None));
        assert_eq!(list.iter().collect::<Vec<_>>(), ["v1", "v2-debian"]);
        assert_eq!(
            (list.at(places[0]), list.at(places[1]), list.at(99)),
            (Some("v1"), Some("v2-debian"), None)
        );
        assert_eq!(list.len(), 2);
        assert_eq!(list, ["v1", "v2-debian"].iter().collect());
    }
}
