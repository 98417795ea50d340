//! What `tidegate check -o json|yaml` prints: a stable contract. Fields may be added, none changes its name, type
//! or meaning. A snapshot test holds it.

use serde::Serialize;

use crate::cli::exit::Verdict;

/// The answer of `check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `metadata.name` of the ReleaseSet.
    pub release_set: String,
    /// The candidate's shared tag; null when no tag is a candidate.
    pub tag: Option<String>,
    /// What would become of it.
    pub verdict: Verdict,
    /// What stands in the way first, in words; null for Promote.
    pub blocked_by: Option<String>,
    /// Images in the order of the spec; empty when there is no candidate.
    pub images: Vec<Image>,
    /// Gates in the order of the spec; empty when there is no candidate.
    pub gates: Vec<Gate>,
}

/// One image of the candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// `spec.images[].name`.
    pub name: String,
    /// `spec.images[].repository`, as written.
    pub repository: String,
    /// The tag in that repository; null when the template gives no valid tag.
    pub tag: Option<String>,
    /// What the tag points at: the index or single manifest; null unless it was seen.
    pub digest: Option<String>,
    /// Required platforms first, in the order of the spec.
    pub cells: Vec<Cell>,
}

/// One platform of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// The platform in normal form, for example `linux/arm64`.
    pub platform: String,
    /// A release needs it; otherwise it is advisory.
    pub required: bool,
    /// `Present`, `Missing`, `Broken` or `Unknown`.
    pub state: &'static str,
    /// The child manifest; null unless Present.
    pub digest: Option<String>,
    /// Why it is Broken or Unknown; null otherwise.
    pub reason: Option<String>,
    /// What to do next when it is Unknown: which credential, which scope, which host; null otherwise.
    pub next: Option<String>,
}

/// One gate of the candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// `spec.gates[].name`.
    pub name: String,
    /// `Passed`, `Failed`, `Running`, `Pending` or `NotRun`.
    pub state: &'static str,
    /// The state in words.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_is_stable() {
        let report = Report {
            release_set: "acme".into(),
            tag: Some("v2".into()),
            verdict: Verdict::Wait,
            blocked_by: Some("embeddings linux/arm64 missing".into()),
            images: vec![Image {
                name: "embeddings".into(),
                repository: "ghcr.io/acme/embeddings".into(),
                tag: Some("v2".into()),
                digest: None,
                cells: vec![Cell {
                    platform: "linux/arm64".into(),
                    required: true,
                    state: "Missing",
                    digest: None,
                    reason: None,
                    next: None,
                }],
            }],
            gates: vec![Gate { name: "boots".into(), state: "NotRun", message: "not run".into() }],
        };
        insta::assert_json_snapshot!(report, @r#"
        {
          "releaseSet": "acme",
          "tag": "v2",
          "verdict": "Wait",
          "blockedBy": "embeddings linux/arm64 missing",
          "images": [
            {
              "name": "embeddings",
              "repository": "ghcr.io/acme/embeddings",
              "tag": "v2",
              "digest": null,
              "cells": [
                {
                  "platform": "linux/arm64",
                  "required": true,
                  "state": "Missing",
                  "digest": null,
                  "reason": null,
                  "next": null
                }
              ]
            }
          ],
          "gates": [
            {
              "name": "boots",
              "state": "NotRun",
              "message": "not run"
            }
          ]
        }
        "#);
    }
}
