//! The ImagePolicy target: a Flux policy of ours that selects exactly the promoted tag (flux research §2, rank 1).

use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::engine::clearance::Committed;

/// What a 404 on the kind itself means.
pub const NOT_INSTALLED: &str = "the ImagePolicy kind is not installed: install Flux 2.7 or later";

/// Group, version and plural; `v1` is served since Flux 2.7.
pub fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("image.toolkit.fluxcd.io", "v1", "ImagePolicy");
    ApiResource::from_gvk_with_plural(&kind, "imagepolicies")
}

/// Writes the release into `object`. Its spec is ours as a whole.
pub fn write(committed: &Committed, image_repository: &str, object: &mut DynamicObject) {
    if let Value::Object(fields) = &mut object.data {
        fields.insert("spec".to_owned(), spec(committed, image_repository));
    }
}

fn spec(committed: &Committed, image_repository: &str) -> Value {
    let release = &committed.promoted().release;
    // The lead is the first; all required images have its template with this kind of target.
    let tag = release.images.first().map_or(&release.tag, |lead| &lead.tag);
    json!({
        "imageRepositoryRef": {"name": image_repository},
        "filterTags": {"pattern": exactly(tag.as_str())},
        // The only rule that accepts any tag: numerical fails on what is no number, semver skips it.
        "policy": {"alphabetical": {"order": "asc"}},
        // Flux would resolve the tag by itself, after our commit (failure sequence 5).
        "digestReflectionPolicy": "Never",
    })
}

/// A pattern that only this tag matches. Flux's patterns are not anchored; of what a tag may hold
/// (`[A-Za-z0-9_.-]`) only the full stop means something in RE2.
fn exactly(tag: &str) -> String {
    format!("^{}$", tag.replace('.', r"\."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_its_own_tag_only() {
        for tag in ["1.4.2-3f9ac1", "main-abc_9", "_", "v1..2"] {
            let pattern = regex::Regex::new(&exactly(tag)).unwrap();
            assert!(pattern.is_match(tag), "{tag}");
            for other in
                [format!("x{tag}"), format!("{tag}x"), tag.replace('.', "x") + "y", format!("{tag}\n")]
            {
                assert!(!pattern.is_match(&other), "{tag} and {other:?}");
            }
        }
        assert!(!regex::Regex::new(&exactly("1.2")).unwrap().is_match("1x2"));
        assert_eq!(exactly("1.4.2-3f9ac1"), r"^1\.4\.2-3f9ac1$");
    }
}
