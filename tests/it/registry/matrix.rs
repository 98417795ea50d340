//! Which case is shown by which test. The cases are what is known of registries: how each answer is to be taken, what each
//! registry does otherwise, and how registries fail.
//!
//! A test of the last kind is at the end of this file: no named test is absent, and no test of the suite is without a case.

use std::collections::BTreeSet;
use std::path::Path;

use Origin::{Failure, Habit, Issue, Verdict};

/// Which list a case is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    /// How an answer is to be taken.
    Verdict,
    /// What a registry does otherwise.
    Habit,
    /// How registries fail in the field.
    Failure,
    /// What else must hold.
    Issue,
}

const ANSWERS: &str = "tests/it/registry/answers.rs";
const TOKENS: &str = "tests/it/registry/tokens.rs";
const EVIDENCE: &str = "tests/it/registry/evidence.rs";
const LISTS: &str = "tests/it/registry/lists.rs";
const HABITS: &str = "tests/it/registry/habits.rs";
const GUARD: &str = "src/registry/wire/guard.rs";
const VERDICTS: &str = "src/registry/verdict.rs";

/// Case, file and test.
const MATRIX: &[(Origin, &str, &str, &str)] = &[
    (Verdict, "200, digest verified", ANSWERS, "a_200_with_a_verified_digest_is_present"),
    (Verdict, "404 to a request that carried a valid token", ANSWERS, "a_404_to_a_valid_token_is_missing"),
    (
        Verdict,
        "404 of a registry that issued no challenge, no credential configured",
        ANSWERS,
        "a_404_of_a_registry_that_asks_for_nothing_is_missing",
    ),
    (
        Verdict,
        "404 when a credential is configured but no token was obtained",
        ANSWERS,
        "a_404_that_asked_for_no_credential_though_one_is_configured_is_unknown_auth",
    ),
    (Verdict, "401, 403 after one refresh", ANSWERS, "a_401_or_403_that_stays_is_unknown_auth"),
    (Verdict, "400 after one refresh (public ECR)", VERDICTS, "only_public_ecr_means_auth_by_400"),
    (Verdict, "408, 499, 5xx, 522", ANSWERS, "trouble_is_unknown_transient"),
    (Verdict, "429, retry_after", ANSWERS, "a_429_is_unknown_throttled_with_its_pause_and_without_one"),
    (Verdict, "time-out", ANSWERS, "a_silent_registry_is_unknown_transient"),
    (Verdict, "DNS", ANSWERS, "a_host_without_an_address_is_unknown_transient"),
    (Verdict, "TLS", ANSWERS, "a_registry_without_tls_is_unknown_transient"),
    (Verdict, "reset", ANSWERS, "a_connection_that_breaks_is_unknown_transient"),
    (Verdict, "200 with text/html", ANSWERS, "a_web_page_with_200_is_unknown_protocol"),
    (Verdict, "200 with wrong JSON (GAR does it)", ANSWERS, "wrong_json_with_200_is_unknown_protocol"),
    (Verdict, "digest mismatch", ANSWERS, "a_body_that_does_not_hash_to_its_digest_is_unknown_corrupt"),
    (Verdict, "too large", ANSWERS, "a_manifest_larger_than_4_mib_is_unknown_corrupt_announced_or_not"),
    (Verdict, "ambiguous shape", EVIDENCE, "an_ambiguous_shape_is_unknown_corrupt"),
    (Verdict, "405, 501 on HEAD", ANSWERS, "a_refused_head_becomes_one_get_and_is_remembered"),
    (
        Habit,
        "Docker Hub: missing or private repository -> 401",
        HABITS,
        "docker_hub_answers_401_for_what_is_absent_or_private",
    ),
    (
        Habit,
        "Docker Hub: GET counted, HEAD not",
        HABITS,
        "docker_hub_counts_gets_and_a_second_look_sends_none",
    ),
    (Habit, "Docker Hub: limit reached", HABITS, "docker_hub_beyond_its_limit_is_unknown_throttled"),
    (
        Habit,
        "ghcr.io: token endpoint 403 for private or missing",
        HABITS,
        "ghcr_refuses_the_token_for_an_absent_or_private_package",
    ),
    (Habit, "ghcr.io: manifests 403", HABITS, "ghcr_answers_403_for_manifests_of_a_private_package"),
    (Habit, "ghcr.io: 100 tags per page with Link", HABITS, "ghcr_pages_by_100_with_link"),
    (Habit, "ghcr.io: opaque tokens", HABITS, "ghcr_tokens_that_hide_their_life_are_good_for_a_minute"),
    (
        Habit,
        "ECR: expired token = 403",
        HABITS,
        "ecr_answers_403_for_an_expired_password_until_it_is_rotated",
    ),
    (
        Habit,
        "ECR: n > 1000 is an error",
        HABITS,
        "ecr_refuses_more_than_1000_tags_per_page_and_is_not_asked_for_them",
    ),
    (Habit, "public ECR: expired token = 400", VERDICTS, "only_public_ecr_means_auth_by_400"),
    (
        Habit,
        "GAR: 403 downloadArtifacts denied",
        HABITS,
        "gar_answers_403_download_artifacts_for_what_is_absent_or_private",
    ),
    (Habit, "GAR: tags/list with manifest", HABITS, "gar_tag_lists_with_their_manifests_are_read"),
    (Habit, "ACR: 429 under load", HABITS, "acr_under_load_is_unknown_throttled"),
    (Habit, "ACR: OAuth2 with an identity token", HABITS, "acr_takes_an_identity_token_by_post"),
    (
        Habit,
        "Quay: TOO_MANY_TAGS_REQUESTED and 413",
        HABITS,
        "quay_refuses_more_than_100_tags_per_page_in_two_ways",
    ),
    (Habit, "Quay: 429 with HTML body", HABITS, "quay_throttles_with_a_web_page"),
    (Habit, "Harbor: code NOT_FOUND, robot accounts", HABITS, "harbor_says_not_found_in_its_own_word"),
    (Habit, "GitLab: JWT of 5 minutes", HABITS, "gitlab_tokens_of_five_minutes_are_renewed_in_time"),
    (
        Habit,
        "Artifactory: 403 for a non-existent tag",
        HABITS,
        "artifactory_answers_403_for_an_absent_tag_which_is_not_missing",
    ),
    (
        Habit,
        "Nexus: Link drops the port",
        HABITS,
        "nexus_loses_the_port_of_its_link_which_is_followed_on_its_own_address",
    ),
    (Habit, "Nexus: digest header missing", HABITS, "nexus_without_digest_headers_is_hashed"),
    (
        Habit,
        "zot: any store error -> 404 NAME_UNKNOWN for a list",
        HABITS,
        "zot_answers_404_for_any_trouble_with_a_list_which_says_nothing_of_manifests",
    ),
    (
        Habit,
        "zot: unknown last -> bare 404",
        HABITS,
        "zot_answers_404_where_a_list_shall_go_on_after_an_unknown_tag",
    ),
    (
        Habit,
        "paging: Link on the same scheme, host and port",
        LISTS,
        "a_link_to_another_place_is_not_followed",
    ),
    (Habit, "paging: page 1 again (ggcr)", LISTS, "a_list_stuck_at_its_first_page_is_not_taken_twice"),
    (Failure, "401 then token", TOKENS, "a_401_is_answered_with_one_token_for_the_whole_look"),
    (Failure, "token expires mid-operation", TOKENS, "a_token_that_ends_on_the_way_is_refreshed_once"),
    (
        Failure,
        "403 for a token that ended is refreshed once",
        TOKENS,
        "a_403_that_says_the_token_expired_is_refreshed_once",
    ),
    (Failure, "refresh token once, then Unknown", TOKENS, "a_token_that_is_never_good_is_unknown_auth"),
    (Failure, "token endpoint down", TOKENS, "a_token_server_that_cannot_be_reached_is_unknown_transient"),
    (
        Failure,
        "token endpoint refuses",
        TOKENS,
        "a_token_server_in_trouble_is_unknown_never_an_anonymous_404",
    ),
    (Failure, "token with illegal bytes", TOKENS, "a_token_with_illegal_bytes_is_never_sent"),
    (Failure, "Secret rotated", TOKENS, "a_rotated_secret_is_used_at_the_next_look"),
    (Failure, "403 for missing", HABITS, "artifactory_answers_403_for_an_absent_tag_which_is_not_missing"),
    (
        Failure,
        "404 MANIFEST_UNKNOWN vs 404 NAME_UNKNOWN",
        ANSWERS,
        "an_unknown_name_and_an_unknown_manifest_are_both_missing_to_who_may_see",
    ),
    (
        Failure,
        "429 with and without Retry-After",
        ANSWERS,
        "a_429_is_unknown_throttled_with_its_pause_and_without_one",
    ),
    (Failure, "500", ANSWERS, "trouble_is_unknown_transient"),
    (Failure, "slow-loris", ANSWERS, "a_body_that_trickles_is_unknown_transient"),
    (Failure, "truncated body", ANSWERS, "a_truncated_body_is_unknown_transient"),
    (Failure, "200 + HTML", ANSWERS, "a_web_page_with_200_is_unknown_protocol"),
    (Failure, "wrong content type", ANSWERS, "a_wrong_content_type_is_refused"),
    (Failure, "wrong digest header", ANSWERS, "a_wrong_digest_header_is_unknown_corrupt"),
    (Failure, "absent digest header", ANSWERS, "without_a_digest_header_the_bytes_are_hashed"),
    (
        Failure,
        "body does not hash to digest",
        ANSWERS,
        "a_body_that_does_not_hash_to_its_digest_is_unknown_corrupt",
    ),
    (Failure, "index > 4 MiB", ANSWERS, "a_manifest_larger_than_4_mib_is_unknown_corrupt_announced_or_not"),
    (Failure, "index lists a child that is absent", EVIDENCE, "a_child_that_is_gone_is_broken_and_named"),
    (Failure, "nested index", EVIDENCE, "nested_indexes_are_followed_to_a_bound"),
    (Failure, "attestation entries unknown/unknown", EVIDENCE, "attestations_are_no_platform"),
    (Failure, "schema1", EVIDENCE, "schema_1_and_artifacts_without_a_config_are_broken_unsupported"),
    (
        Failure,
        "same tag re-pushed later with arm64",
        EVIDENCE,
        "a_platform_that_comes_late_extends_what_was_there",
    ),
    (
        Failure,
        "tag moved between check and commit",
        EVIDENCE,
        "a_tag_that_moves_between_check_and_commit_shows_its_new_digest",
    ),
    (Failure, "tag deleted after commit", EVIDENCE, "a_tag_deleted_after_it_was_seen_is_missing"),
    (Failure, "listing flaps", LISTS, "a_list_that_flaps_hides_no_manifest"),
    (Failure, "listing stuck at 1,000", LISTS, "a_list_stuck_at_its_first_page_is_not_taken_twice"),
    (
        Failure,
        "Link drops the port",
        HABITS,
        "nexus_loses_the_port_of_its_link_which_is_followed_on_its_own_address",
    ),
    (Failure, "page size refused (Quay)", HABITS, "quay_refuses_more_than_100_tags_per_page_in_two_ways"),
    (Failure, "9,036 tags", LISTS, "nine_thousand_tags_are_read_page_by_page"),
    (
        Issue,
        "errors: [] and bodies that are no JSON",
        ANSWERS,
        "an_envelope_without_errors_and_a_body_that_is_no_json_change_no_verdict",
    ),
    (
        Issue,
        "redirect of a manifest to another host",
        ANSWERS,
        "a_redirect_of_a_manifest_to_another_host_is_not_followed",
    ),
    (
        Issue,
        "redirect of a blob to another host",
        ANSWERS,
        "a_blob_elsewhere_is_read_without_the_credential_and_only_where_it_may_lie",
    ),
    (Issue, "a fault that ends", ANSWERS, "a_fault_that_ends_leaves_nothing_behind"),
    (Issue, "token server slow", TOKENS, "a_slow_token_server_is_unknown_transient"),
    (
        Issue,
        "token server answers HTML",
        TOKENS,
        "a_token_server_that_answers_a_web_page_is_unknown_protocol",
    ),
    (Issue, "token body above 64 KiB", TOKENS, "a_token_larger_than_64_kib_is_unknown_corrupt"),
    (Issue, "isolation of neighbours", TOKENS, "nobody_sees_what_a_neighbour_with_credentials_saw"),
    (Issue, "Basic refused", TOKENS, "wrong_or_absent_basic_credentials_are_unknown_auth"),
    (
        Issue,
        "realm elsewhere: link-local, relative, other schemes",
        TOKENS,
        "a_realm_elsewhere_gets_no_credential",
    ),
    (
        Issue,
        "realm elsewhere: plain http, loopback, private",
        GUARD,
        "a_public_registry_names_public_https_hosts_only",
    ),
    (
        Issue,
        "token server redirects elsewhere",
        TOKENS,
        "a_token_server_that_redirects_elsewhere_takes_nothing_along",
    ),
    (Issue, "tokens renewed in time", TOKENS, "tokens_are_renewed_before_they_end"),
    (
        Issue,
        "child vanishes between two looks",
        EVIDENCE,
        "a_child_that_vanishes_between_two_looks_is_noticed",
    ),
    (Issue, "config blob is gone", EVIDENCE, "a_config_that_is_gone_is_broken_and_named"),
    (Issue, "layer is gone", EVIDENCE, "a_layer_that_is_gone_is_broken_where_blobs_are_verified"),
    (
        Issue,
        "single manifest through its config",
        EVIDENCE,
        "a_single_image_is_for_the_platform_of_its_config_alone",
    ),
    (Issue, "mislabelled build", EVIDENCE, "a_build_for_another_platform_than_its_label_is_broken"),
    (Issue, "entry without a platform", EVIDENCE, "an_entry_without_a_platform_is_not_taken_for_amd64"),
    (Issue, "non-distributable layers", EVIDENCE, "layers_that_may_not_be_distributed_are_not_asked_for"),
    (Issue, "endless list", LISTS, "a_list_without_end_is_unknown_corrupt"),
    (Issue, "list above 32 MiB", LISTS, "a_list_of_more_than_32_mib_is_unknown_corrupt"),
    (Issue, "list that lies", LISTS, "a_list_that_lies_makes_nothing_present_and_nothing_missing"),
    (
        Issue,
        "trouble on the second page",
        LISTS,
        "trouble_with_a_page_fails_the_list_and_does_not_shorten_it",
    ),
    (Issue, "list is a web page", LISTS, "a_web_page_or_wrong_json_for_a_list_is_unknown_protocol"),
    (Issue, "truncated list", LISTS, "a_truncated_list_is_unknown_transient"),
    (Issue, "tags that are none", LISTS, "what_is_no_tag_is_left_out"),
];

fn tests_of(file: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    lines
        .windows(2)
        .filter(|pair| pair[0] == "#[test]" || pair[0].starts_with("#[tokio::test"))
        .filter_map(|pair| pair[1].strip_prefix("async ").unwrap_or(pair[1]).strip_prefix("fn "))
        .filter_map(|rest| rest.split('(').next().map(str::to_owned))
        .collect()
}

#[test]
fn every_case_has_its_test_and_every_test_its_case() {
    for (origin, case, file, test) in MATRIX {
        assert!(tests_of(file).contains(*test), "{origin:?}: \"{case}\" names {test}, which {file} lacks");
    }
    for file in [ANSWERS, TOKENS, EVIDENCE, LISTS, HABITS] {
        let named: BTreeSet<String> =
            MATRIX.iter().filter(|row| row.2 == file).map(|row| row.3.to_owned()).collect();
        let without: Vec<_> = tests_of(file).difference(&named).cloned().collect();
        assert!(without.is_empty(), "{file}: no case names {without:?}");
    }
    let cases: BTreeSet<_> = MATRIX.iter().map(|(origin, case, ..)| (*origin, *case)).collect();
    assert_eq!(cases.len(), MATRIX.len(), "each case once");
}
