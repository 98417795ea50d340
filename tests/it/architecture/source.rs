//! One source file as words with line numbers, without comments and literals.

use std::path::Path;

/// A word or sign and the line it stands on.
type Token = (usize, String);

/// What the rules ask of a file.
pub struct Source {
    /// Relative to the root, with `/`.
    pub path: String,
    /// The first folder or file name below `src/`; `None` for `lib.rs` and `main.rs`.
    pub module: Option<String>,
    /// How many modules lie between the crate's root and this file's own names.
    depth: usize,
    tokens: Vec<Token>,
    lines: usize,
    /// Where the tests begin: index into `tokens`, and line.
    tests: Option<(usize, usize)>,
}

// === impl Source ===

impl Source {
    /// Reads `text` as the file at `path` below `src/`.
    pub fn read(path: &Path, text: &str) -> Self {
        let names: Vec<String> =
            path.with_extension("").iter().skip(1).map(|part| part.to_string_lossy().into_owned()).collect();
        let module = names.first().filter(|name| !["lib", "main"].contains(&name.as_str())).cloned();
        let depth = names.iter().filter(|name| name.as_str() != "mod").count();
        let tokens = tokens(&blank(text));
        let tests = if path.ends_with("tests.rs") { Some((0, 1)) } else { tests_begin(&tokens) };
        let lines = text.lines().count();
        Self { path: path.to_string_lossy().into_owned(), module, depth, tokens, lines, tests }
    }

    /// Lines before the tests.
    pub fn product_lines(&self) -> usize {
        self.tests.map_or(self.lines, |(_, line)| line - 1)
    }

    /// Names of the macros called before the tests.
    pub fn product_macros(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.tests.map_or(self.tokens.len(), |(at, _)| at);
        self.tokens[..end]
            .windows(2)
            .filter(|pair| pair[1].1 == "!")
            .map(|pair| (pair[0].0, pair[0].1.as_str()))
    }

    /// Every path that begins with `first::` or is imported from it, without that first word; groups are spelled out.
    pub fn paths_below(&self, first: &str) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            if self.word(at) != first || at.checked_sub(1).is_some_and(|before| self.word(before) == "::") {
                continue;
            }
            if self.word(at + 1) == "::" {
                self.expand(at + 2, String::new(), &mut found);
            } else if at.checked_sub(1).is_some_and(|before| ["use", "crate"].contains(&self.word(before))) {
                found.push((self.tokens[at].0, String::new()));
            }
        }
        found
    }

    /// Chains of `super::` that reach the root of the crate, where every module could be named unseen.
    pub fn escapes_through_super(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let begin = at;
            let mut supers = 0;
            while self.word(at) == "super" && self.word(at + 1) == "::" {
                supers += 1;
                at += 2;
            }
            // Tests live in a module of their own below the file's.
            let depth =
                self.depth + usize::from(self.tests.is_some_and(|(tests, _)| tests > 0 && begin >= tests));
            if supers > 0 && supers >= depth {
                found.push((self.tokens[begin].0, format!("{}{}", "super::".repeat(supers), self.word(at))));
            }
            at = at.max(begin + 1);
        }
        found
    }

    fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |(_, word)| word.as_str())
    }

    /// Reads one path from `at` and answers where it ends; a group gives one path for each member.
    fn expand(&self, mut at: usize, mut path: String, found: &mut Vec<(usize, String)>) -> usize {
        let line = self.tokens.get(at).map_or(0, |(line, _)| *line);
        loop {
            if self.word(at) == "{" {
                at += 1;
                while !["}", ""].contains(&self.word(at)) {
                    at = if self.word(at) == "," { at + 1 } else { self.expand(at, path.clone(), found) };
                }
                return at + 1;
            }
            let word = self.word(at);
            if word != "self" {
                if !path.is_empty() {
                    path.push_str("::");
                }
                path.push_str(word);
            }
            at += 1;
            if self.word(at) != "::" {
                break;
            }
            at += 1;
        }
        // `as name` changes nothing about what is used.
        while !["", ",", "}", ";"].contains(&self.word(at)) && self.word(at) == "as" {
            at += 2;
        }
        found.push((line, path));
        at
    }
}

/// The first `#[cfg(test)]` that stands before a module.
fn tests_begin(tokens: &[Token]) -> Option<(usize, usize)> {
    let marker = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let at =
        tokens.windows(marker.len()).position(|window| window.iter().map(|(_, word)| word).eq(marker))?;
    Some((at, tokens[at].0))
}

/// Words, `::`, and single signs.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(letter) = rest.chars().next() {
            let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
            let length = if is_word(letter) {
                rest.find(|next| !is_word(next)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                letter.len_utf8()
            };
            tokens.push((number + 1, rest[..length].to_owned()));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// The same text with comments and literals as spaces; line breaks stay.
fn blank(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let after_word = output.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let length = literal_or_comment(rest, after_word);
        if length == 0 {
            output.push(letter);
            rest = &rest[letter.len_utf8()..];
        } else {
            output.extend(rest[..length].chars().map(|hidden| if hidden == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    output
}

/// How many bytes of a comment or literal `text` begins with; 0 when it begins with neither.
fn literal_or_comment(text: &str, after_word: bool) -> usize {
    let to_end = text.len();
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(to_end);
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    let prefix =
        if after_word { 0 } else { text.find(|letter| letter != 'b' && letter != 'c').unwrap_or(0).min(1) };
    let literal = &text[prefix..];
    let raw = literal.strip_prefix('r').filter(|_| !after_word);
    if let Some(raw) = raw {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = prefix + 1 + hashes + 1;
            return text[body..].find(&close).map_or(to_end, |at| body + at + close.len());
        }
    }
    if literal.starts_with('"') {
        return prefix + quoted(literal, '"');
    }
    // A quote that is no lifetime: an escape, or one letter and a quote.
    let mut letters = literal.chars();
    if letters.next() == Some('\'') && (letters.next() == Some('\\') || letters.next() == Some('\'')) {
        return prefix + quoted(literal, '\'');
    }
    0
}

/// The length of a literal that begins and ends with `quote`, escapes skipped.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}
