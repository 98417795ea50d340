//! Replays the corpora of `fuzz/`, as they are and with changes, so that a broken parser is found without cargo-fuzz.
//!
//! The changes come from a generator with a fixed seed: the same inputs in every run, on every machine.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tidegate::fuzz::{Check, TARGETS};

/// Changed inputs of each target: all targets together take a few seconds.
const CHANGED: usize = 12_000;
/// Longest changed input: past every limit of a header, and still quick to parse.
const INPUT_MAX_BYTES: usize = 8 * 1024;
/// What parsers look for: spliced in, so that changes reach beyond the first mistake.
const WORDS: [&[u8]; 30] = [
    b"\"",
    b"\\",
    b"<",
    b">",
    b"; rel=\"next\"",
    b", ",
    b"||",
    b" - ",
    b"-",
    b"=",
    b"*",
    b"x",
    b".",
    b"..",
    b"/",
    b":",
    b"@",
    b"{tag}",
    b"null",
    b"{}",
    b"[]",
    b"\"manifests\":[],",
    b"\"config\":{},",
    b"realm=\"",
    b"Bearer ",
    b"18446744073709551616",
    b"\0",
    b"\xff",
    b"\xc3\xa4",
    b"ghcr.io",
];

/// xorshift64*: enough to choose changes by.
struct Random(u64);

// === impl Random ===

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `bound`, and 0 for 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound.max(1)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// One change of a byte, a range or a splice with another seed.
    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let (from, to) = (self.below(input.len() + 1), self.below(input.len() + 1));
        let (low, high) = (from.min(to), from.max(to));
        match self.below(8) {
            0 if !input.is_empty() => {
                let at = self.below(input.len());
                input[at] ^= 1 << self.below(8);
            }
            1 => input.truncate(low),
            2 => drop(input.drain(low..high.min(low + 8))),
            3 => drop(input.splice(low..low, self.pick(&WORDS).iter().copied())),
            4 => {
                let part = input[low..high.min(low + 64)].to_vec();
                drop(input.splice(high..high, part));
            }
            5 => {
                let other = self.pick(seeds).clone();
                let start = self.below(other.len() + 1);
                input.truncate(low);
                input.extend_from_slice(&other[start..]);
            }
            6 => drop(input.splice(low..high.min(low + 4), self.pick(&WORDS).iter().copied())),
            _ => {
                let byte = u8::try_from(self.below(128)).unwrap();
                input.insert(low, byte);
            }
        }
        input.truncate(INPUT_MAX_BYTES);
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// The seeds of a target, by name.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder("corpus").join(target);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| (file.display().to_string(), std::fs::read(file).unwrap())).collect()
}

/// What did not hold for the input, panics included.
fn broken(check: Check, input: &[u8]) -> Option<String> {
    let words = |panic: Box<dyn Any + Send>| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => {
            panic.downcast::<&str>().map_or_else(|_| "no words".to_owned(), |text| (*text).to_owned())
        }
    };
    match catch_unwind(AssertUnwindSafe(|| check(input))) {
        Ok(held) => held.err(),
        Err(panic) => Some(format!("it panicked: {}", words(panic))),
    }
}

/// The first of `count` changed inputs that breaks the check, with what did not hold.
fn search(check: Check, seeds: &[Vec<u8>], count: usize) -> Option<(Vec<u8>, String)> {
    let mut random = Random(0x7469_6465_6761_7465);
    (0..count).find_map(|_| {
        let mut input = random.pick(seeds).clone();
        for _ in 0..=random.below(4) {
            random.change(&mut input, seeds);
        }
        broken(check, &input).map(|what| (input, what))
    })
}

fn replay(target: &str) {
    let (_, check) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
    let seeds = seeds(target);
    assert!(seeds.len() >= 16, "{target}: only {} seeds were found", seeds.len());
    for (file, input) in &seeds {
        assert_eq!(broken(*check, input), None, "{file}");
    }
    let inputs: Vec<Vec<u8>> = seeds.into_iter().map(|(_, input)| input).collect();
    if let Some((input, what)) = search(*check, &inputs, CHANGED) {
        let shown = input.escape_ascii();
        panic!("{target}: {what}\n  input: b\"{shown}\"\n  once mended, keep it in fuzz/corpus/{target}/");
    }
}

macro_rules! replays {
    ($($target:ident)+) => {
        $(
            #[test]
            fn $target() {
                replay(stringify!($target));
            }
        )+

        #[test]
        fn every_target_is_replayed_and_has_a_folder_and_a_binary() {
            let targets = BTreeSet::from([$(stringify!($target).to_owned()),+]);
            let known = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(targets, known);
            assert_eq!(targets, names(&folder("corpus")));
            assert_eq!(targets, names(&folder("fuzz_targets")));
            let manifest = std::fs::read_to_string(folder("Cargo.toml")).unwrap();
            for target in &targets {
                assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} is no binary");
            }
        }
    };
}

replays!(dockerconfigjson duration link manifest reference retry_after semver_range www_authenticate);

/// The changes reach mistakes that no seed holds: each of these was once made in one parser or another.
#[test]
fn changes_find_planted_mistakes() {
    let slices_a_truncated_quote: Check = |data| {
        let text = String::from_utf8_lossy(data);
        if let Some(at) = text.find("realm=\"") {
            let end = text[at + 7..].find('"').unwrap();
            assert!(at + 7 + end <= text.len());
        }
        Ok(())
    };
    let takes_the_last_of_two: Check = |data| {
        let text = String::from_utf8_lossy(data);
        let twice = text.matches("realm=\"").count() > 1;
        if twice { Err("the last realm wins".to_owned()) } else { Ok(()) }
    };
    let slices_inside_a_letter: Check = |data| {
        let text = String::from_utf8_lossy(data);
        assert!(text.len() < 12 || text.is_char_boundary(12), "byte 12 is inside a letter");
        Ok(())
    };
    let seed = vec![b"Bearer realm=\"https://ghcr.io/token\",service=\"ghcr.io\"".to_vec()];
    for planted in [slices_a_truncated_quote, takes_the_last_of_two, slices_inside_a_letter] {
        assert_eq!(broken(planted, &seed[0]), None, "the seed itself is sound");
        assert!(search(planted, &seed, CHANGED).is_some());
    }
}
