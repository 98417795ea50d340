//! `tidegate lint`.

use super::fixture::{Call, call};

const TWO_MISTAKES: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: ReleaseSet
metadata: {name: shop}
spec:
  interval: 0s
  pin: main-1
  images:
  - {name: app, repository: 'https://ghcr.io/acme/app'}
  candidates:
    policy: {numerical: {}}
  targets:
  - {name: flux, imagePolicy: {name: shop, imageRepositoryRef: {name: app}}}
";

fn lint(text: &str, args: &[&str]) -> String {
    let args: Vec<&str> = ["lint", "-f", "-"].iter().chain(args).copied().collect();
    Call::new(&args).stdin(text).answer().whole()
}

#[test]
fn every_example_is_free_of_mistakes() {
    let mut seen = 0;
    for path in crate::crd::examples() {
        let answer = call(&["lint", "-f", path.to_str().expect("UTF-8")]);
        assert_eq!(answer.code, 0, "{}", answer.whole());
        seen += 1;
    }
    assert!(seen >= 7, "only {seen} examples were found");
}

#[test]
fn every_bad_spec_of_the_corpus_is_named_in_the_expected_words() {
    let mut seen = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/bad"))
        .expect("the corpus is there")
    {
        let path = entry.expect("the corpus can be read").path();
        let text = std::fs::read_to_string(&path).expect("the corpus is UTF-8");
        let words = text
            .lines()
            .find_map(|line| line.strip_prefix("# expect: "))
            .expect("each file says what to expect");
        let answer = call(&["lint", "-f", path.to_str().expect("UTF-8")]);
        assert_eq!(answer.code, 1, "{}: {}", path.display(), answer.whole());
        let words = in_an_editors_form(words);
        assert!(answer.stdout.contains(&words), "{} wants {words:?}: {}", path.display(), answer.whole());
        seen += 1;
    }
    assert!(seen >= 40, "only {seen} files were found");
}

/// `line 11, column 5: …` of the corpus is `FILE:11:5: error: …` here.
fn in_an_editors_form(words: &str) -> String {
    match words.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((place, message)) => format!(":{}: error: {message}", place.replace(", column ", ":")),
        None => words.to_owned(),
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    insta::assert_snapshot!("lint_two_mistakes", lint(TWO_MISTAKES, &[]));
    insta::assert_snapshot!("lint_two_mistakes_json", lint(TWO_MISTAKES, &["-o", "json"]));
}

#[test]
fn an_unknown_field_is_shown_in_its_place() {
    insta::assert_snapshot!("lint_unknown_field", lint(&TWO_MISTAKES.replace("interval", "intervall"), &[]));
}

#[test]
fn broken_yaml_is_shown_in_its_place() {
    insta::assert_snapshot!("lint_broken_yaml", lint("kind: ReleaseSet\nspec: {a: [1}\n", &[]));
}

#[test]
fn of_several_sets_the_name_is_said() {
    let two = format!("{TWO_MISTAKES}---\n{}", TWO_MISTAKES.replace("shop", "other"));
    let answer = lint(&two, &["-q"]);
    assert!(
        answer.contains("error: shop: spec.interval: ") && answer.contains("error: other: spec.interval: "),
        "{answer}"
    );
}

#[test]
fn other_kinds_and_nothing_are_said_to_be_no_release_set() {
    insta::assert_snapshot!(
        "lint_other_kind",
        lint("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n", &[])
    );
    insta::assert_snapshot!("lint_empty", lint("", &[]));
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    insta::assert_snapshot!("lint_no_file", call(&["lint", "-f", "nowhere.yaml"]).whole());
}
