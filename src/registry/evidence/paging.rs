//! Putting a tag list together from its pages (registry research §3 "Tag paging"). Pure: no I/O, no clock.
//!
//! Registries page in many ways. Most give a `Link`; some cut a list off at `n` and give none; some ignore `n`;
//! some begin again at the end. What all have in common: a page that brings no new tag is the end.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::model::{Tag, TagList};
use crate::registry::evidence::link::next_link;

/// Tags read: five times the largest list reported in the field (9,036 tags).
pub(crate) const TAGS_MAX: usize = 50_000;

/// Where the next page is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// There is none.
    End,
    /// Where the registry says.
    Link(String),
    /// After this tag, if anywhere: the page was full, so the registry may have cut the list off.
    After(String),
    /// There is more than is read.
    Full,
}

/// A list on its way.
#[derive(Default)]
pub(crate) struct Paging {
    list: TagList,
    /// Hash of a tag to its place in the list: a third of the memory that the tags themselves would take again.
    known: HashMap<u64, usize>,
    hasher: RandomState,
    /// Of the page that is being read.
    page_tags: u32,
    last: String,
    full: bool,
}

// === impl Paging ===

impl Paging {
    /// Takes a page in. `asked` is the number of tags that was asked for, `link` the page's `Link` headers.
    ///
    /// # Errors
    /// When the body is not the JSON of a tag list. What was read of it until there stays.
    pub(crate) fn take(
        &mut self,
        body: &[u8],
        asked: Option<u32>,
        link: &str,
    ) -> Result<Next, serde_json::Error> {
        let before = self.list.len();
        (self.page_tags, self.last) = (0, String::new());
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        deserializer.deserialize_map(Page(self))?;
        deserializer.end()?;
        if self.full {
            return Ok(Next::Full);
        }
        if self.list.len() == before {
            return Ok(Next::End);
        }
        Ok(match (next_link(link), asked) {
            (Some(link), _) => Next::Link(link.to_owned()),
            (None, Some(asked)) if self.page_tags >= asked => Next::After(std::mem::take(&mut self.last)),
            (None, _) => Next::End,
        })
    }

    /// Everything that was read.
    pub(crate) fn finish(self) -> TagList {
        let mut list = self.list;
        list.shrink();
        list
    }

    fn note(&mut self, raw: &str) {
        self.page_tags = self.page_tags.saturating_add(1);
        raw.clone_into(&mut self.last);
        if raw.parse::<Tag>().is_err() {
            return;
        }
        let hash = self.hasher.hash_one(raw);
        let known = self.known.get(&hash).and_then(|place| self.list.at(*place));
        if known == Some(raw) {
            return;
        }
        if self.list.len() == TAGS_MAX {
            self.full = true;
            return;
        }
        // Of two tags with one hash the first is remembered; the other may stand in the list twice.
        let (first, place) = (known.is_none(), self.list.push(raw));
        if let (true, Some(place)) = (first, place) {
            self.known.insert(hash, place);
        }
    }
}

/// `{"name": …, "tags": […] or null, …}`: the tags are taken one by one as they are read, and everything else
/// (GAR tells of every manifest) is skipped without being held.
struct Page<'a>(&'a mut Paging);

struct Tags<'a>(&'a mut Paging);

struct OneTag<'a>(&'a mut Paging);

impl<'de> Visitor<'de> for Page<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tag list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "tags" {
                map.next_value_seed(Tags(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Tags<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Tags<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tags or null")
    }

    /// An empty repository may be listed as `null`.
    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut tags: A) -> Result<(), A::Error> {
        while tags.next_element_seed(OneTag(self.0))?.is_some() {}
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for OneTag<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for OneTag<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tag")
    }

    fn visit_str<E: Error>(self, tag: &str) -> Result<(), E> {
        self.0.note(tag);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// How a registry pages.
    #[derive(Clone, Copy, Debug)]
    enum Habit {
        /// As the specification has it.
        Links,
        /// Cuts off at `n` without a Link; after the last tag it begins again (go-containerregistry).
        Wraps,
        /// Cuts off at `n` without a Link; after the last tag there is an empty page.
        Truncates,
        /// Answers everything, whatever is asked, in no order (docker-registry 2.8.2).
        Everything,
        /// Links to the same page for ever.
        Endless,
    }

    fn page(habit: Habit, tags: &BTreeSet<String>, n: usize, last: &str) -> (Vec<String>, String) {
        let all: Vec<String> = tags.iter().cloned().collect();
        let after: Vec<String> = all.iter().filter(|tag| tag.as_str() > last).cloned().collect();
        let cut = |tags: &[String]| tags.iter().take(n).cloned().collect::<Vec<_>>();
        match habit {
            Habit::Links => {
                let link = if after.len() > n {
                    format!("</next?last={}>; rel=\"next\"", after[n - 1])
                } else {
                    String::new()
                };
                (cut(&after), link)
            }
            Habit::Wraps => (cut(if after.is_empty() { &all } else { &after }), String::new()),
            Habit::Truncates => (cut(&after), String::new()),
            Habit::Everything => (all.into_iter().rev().collect(), String::new()),
            Habit::Endless => (cut(&all), "</next?last=a>; rel=next".to_owned()),
        }
    }

    /// Pages until the end; the number of pages beside the list.
    fn read(habit: Habit, tags: &BTreeSet<String>, n: usize) -> (TagList, usize) {
        let (mut paging, mut last) = (Paging::default(), String::new());
        for pages in 1..=tags.len() + 3 {
            let (tags, link) = page(habit, tags, n, &last);
            let body = serde_json::to_vec(&serde_json::json!({"name": "a", "tags": tags})).unwrap();
            match paging.take(&body, u32::try_from(n).ok(), &link).unwrap() {
                Next::End => return (paging.finish(), pages),
                Next::Link(link) => last = link.split_once("last=").unwrap().1.to_owned(),
                Next::After(tag) => last = tag,
                Next::Full => panic!("there are few tags"),
            }
        }
        panic!("it never ends");
    }

    proptest! {
        /// However a registry pages, every tag is read once, and the paging ends.
        #[test]
        fn every_way_of_paging_gives_every_tag_once(
            tags in proptest::collection::btree_set("[a-z0-9]{1,3}", 0..40),
            n in 1..12_usize,
            habit in prop_oneof![
                Just(Habit::Links), Just(Habit::Wraps), Just(Habit::Truncates), Just(Habit::Everything)
            ],
        ) {
            let (list, pages) = read(habit, &tags, n);
            prop_assert_eq!(list.iter().map(str::to_owned).collect::<BTreeSet<_>>(), tags.clone());
            prop_assert_eq!(list.len(), tags.len());
            prop_assert!(pages <= tags.len() / n + 2, "{} pages", pages);
        }

        #[test]
        fn an_endless_list_ends(tags in proptest::collection::btree_set("[a-z0-9]{1,3}", 0..40), n in 1..12_usize) {
            prop_assert!(read(Habit::Endless, &tags, n).1 <= 2);
        }

        #[test]
        fn no_link_and_no_body_panics(text in "\\PC{0,60}", body in "\\PC{0,60}") {
            let _any = next_link(&text);
            let _any = Paging::default().take(body.as_bytes(), Some(1), &text);
        }
    }

    #[test]
    fn details_of_gar_are_skipped() {
        let body = br#"{"child":[],"manifest":{"sha256:0":{"tag":["v1"],"mediaType":"x"}},"name":"a","tags":["v1"]}"#;
        let mut paging = Paging::default();
        assert_eq!(paging.take(body, Some(1_000), "").unwrap(), Next::End);
        assert_eq!(paging.finish().iter().collect::<Vec<_>>(), ["v1"]);
    }

    #[test]
    fn fifty_thousand_tags_are_read_and_not_one_more() {
        let body = |count: usize| {
            let tags: Vec<String> = (0..count).map(|number| format!("{number:0>128}")).collect();
            serde_json::to_vec(&serde_json::json!({ "tags": tags })).unwrap()
        };
        let mut paging = Paging::default();
        assert_eq!(paging.take(&body(TAGS_MAX), None, "").unwrap(), Next::End);
        let mut over = Paging::default();
        assert_eq!(over.take(&body(TAGS_MAX + 1), None, "").unwrap(), Next::Full);
        let (list, over) = (paging.finish(), over.finish());
        assert_eq!((list.len(), over.len()), (TAGS_MAX, TAGS_MAX));
        assert_eq!(list.size_bytes(), TAGS_MAX * 129, "one piece of memory");
    }

    #[test]
    fn what_was_read_before_a_page_went_wrong_stays() {
        let mut paging = Paging::default();
        assert!(paging.take(br#"{"tags":["a","b",7]}"#, None, "").is_err());
        assert_eq!(paging.finish().len(), 2);
    }
}
