//! The `Link` header that leads from page to page (RFC 8288). Pure.

/// The target of the first link with `rel=next`, alone or among others. The value is read as a whole, so that a
/// relation belongs to its own link and a quoted text is none; what cannot be read ends the list.
pub(crate) fn next_link(value: &str) -> Option<&str> {
    let mut rest = value;
    loop {
        let begun = rest.trim_start_matches([' ', '\t', ',']).strip_prefix('<')?;
        let (target, parameters) = begun.split_once('>')?;
        let (is_next, after) = relation(parameters)?;
        if is_next {
            return Some(target);
        }
        rest = after.strip_prefix(',')?;
    }
}

/// Whether the parameters of one link say `rel=next`, and what follows them. Only the first `rel` counts (§3.3).
fn relation(parameters: &str) -> Option<(bool, &str)> {
    let (mut rest, mut found) = (parameters.trim_start(), None);
    while let Some(parameter) = rest.strip_prefix(';') {
        let (name, after) = parameter.split_at(parameter.find(['=', ';', ',']).unwrap_or(parameter.len()));
        let (value, after) = match after.strip_prefix('=') {
            Some(after) => value(after.trim_start())?,
            None => ("", after),
        };
        if name.trim().eq_ignore_ascii_case("rel") {
            let mut words = value.split_ascii_whitespace();
            let is_next = words.any(|word| word.eq_ignore_ascii_case("next"));
            found.get_or_insert(is_next);
        }
        rest = after.trim_start();
    }
    Some((found.unwrap_or(false), rest))
}

/// A token or a quoted text without its quotes, and what follows. Nothing when a quote is not closed.
fn value(text: &str) -> Option<(&str, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return Some(text.split_at(text.find([';', ',']).unwrap_or(text.len())));
    };
    let mut escaped = false;
    let end = quoted.find(|character| {
        let closes = character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        closes
    })?;
    Some((quoted.get(..end)?, quoted.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_the_field_are_read() {
        for (header, expected) in [
            (r#"</v2/a/tags/list?last=v1&n=100>; rel="next""#, Some("/v2/a/tags/list?last=v1&n=100")),
            ("</v2/a>;rel=next", Some("/v2/a")),
            (r#"<a>; Rel = "prev Next""#, Some("a")),
            (r#"<a>; rel="prev", <b>; rel="next""#, Some("b")),
            (r#"<a,b>; title="x, y"; rel=next"#, Some("a,b")),
            (r#"<a>; rel="prev""#, None),
            (r#"<a>; rel="prev"; rel="next""#, None),
            (r#"<a>; title="; rel=next""#, None),
            (r#"<a>; title="\"; rel=next; x=\"""#, None),
            (r#"<a>; rel="next"#, None),
            ("<a>", None),
            ("a; rel=next", None),
            ("<a; rel=next", None),
            ("", None),
        ] {
            assert_eq!(next_link(header), expected, "{header}");
        }
    }
}
