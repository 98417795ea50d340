//! LIST: pages, and how old an answer may be. A page and all that follow it are of one revision.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{
    State, as_metadata,
    refusal::{Cause, Refusal},
    resources::Resource,
    selector::Selector,
    write::text,
};

/// What a LIST asks for.
pub(super) struct ListRequest<'a> {
    pub(super) resource: &'a Resource,
    pub(super) namespace: Option<&'a str>,
    pub(super) selector: Selector,
    pub(super) limit: Option<&'a str>,
    pub(super) continued: Option<&'a str>,
    pub(super) revision: Option<&'a str>,
    pub(super) revision_match: Option<&'a str>,
    pub(super) metadata_only: bool,
}

/// Where a page begins: the revision of its first, and the last object of the one before.
struct Start {
    revision: u64,
    after: Option<(String, String)>,
}

// === impl ListRequest ===

impl ListRequest<'_> {
    /// The list object.
    pub(super) fn answer(&self, state: &State) -> Result<Value, Refusal> {
        let limit = self.limit()?;
        let start = self.start(state)?;
        let (group, plural) = (&self.resource.group, &self.resource.plural);
        let objects = if start.revision == state.store.revision() {
            state.store.list(group, plural, self.namespace)
        } else {
            let then = state.store.list_at(group, plural, self.namespace, start.revision);
            then.ok_or_else(|| self.too_old(start.revision, state))?
        };
        let follows = |object: &&Arc<Value>| start.after.as_ref().is_none_or(|after| place(object) > *after);
        let mut following = objects.iter().filter(follows);
        let selected = following.by_ref().filter(|object| self.selector.matches(object));
        let page: Vec<_> = selected.take(limit).collect();
        // Whether any of them is selected is not known before they are read: the next page may be empty.
        let remaining = following.count();
        let mut metadata = json!({"resourceVersion": start.revision.to_string()});
        if self.resource.custom {
            metadata["continue"] = "".into();
        }
        if let Some(last) = page.last().filter(|_| remaining > 0) {
            metadata["continue"] = token(start.revision, last).into();
            if self.selector.is_everything() {
                metadata["remainingItemCount"] = remaining.into();
            }
        }
        let items: Vec<Value> = page.into_iter().map(|object| self.item(object)).collect();
        let (kind, api_version) = if self.metadata_only {
            ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned())
        } else {
            (format!("{}List", self.resource.kind), self.resource.api_version())
        };
        Ok(json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items}))
    }

    /// Items of built-in kinds do not say what they are.
    fn item(&self, object: &Value) -> Value {
        if self.metadata_only {
            return as_metadata(object);
        }
        let mut item = object.clone();
        if let Some(fields) = item.as_object_mut().filter(|_| !self.resource.custom) {
            fields.remove("apiVersion");
            fields.remove("kind");
        }
        item
    }

    /// Without one, and with revision 0, everything is one page.
    fn limit(&self) -> Result<usize, Refusal> {
        let Some(text) = self.limit else { return Ok(usize::MAX) };
        let limit =
            text.parse::<i64>().map_err(|_| Refusal::bad_request(format!("limit={text:?} is no number")))?;
        let is_any = self.continued.is_none() && self.revision == Some("0");
        Ok(if limit <= 0 || is_any { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) })
    }

    fn start(&self, state: &State) -> Result<Start, Refusal> {
        let newest = state.store.revision();
        let revision = self.revision.map(parse_revision).transpose()?;
        self.check_match()?;
        if let Some(continued) = self.continued {
            if revision.is_some_and(|revision| revision > 0) {
                let message = "specifying resource version is not allowed when using continue";
                return Err(Refusal::bad_request(message));
            }
            return read_token(continued)
                .ok_or_else(|| Refusal::bad_request(format!("continue key is not valid: {continued:?}")));
        }
        let asked = revision.unwrap_or(0);
        if asked > newest {
            return Err(Refusal::too_large(asked, newest));
        }
        let revision = if self.revision_match == Some("Exact") { asked } else { newest };
        Ok(Start { revision, after: None })
    }

    fn check_match(&self) -> Result<(), Refusal> {
        let Some(wanted) = self.revision_match else { return Ok(()) };
        let field = "resourceVersionMatch";
        let cause = if self.revision.is_none() {
            let message = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
            Cause::new("FieldValueForbidden", field, message)
        } else if matches!(wanted, "Exact" | "NotOlderThan") {
            return Ok(());
        } else {
            let known = "supported values: \"Exact\", \"NotOlderThan\", \"\"";
            Cause::new("FieldValueNotSupported", field, format!("Unsupported value: {wanted:?}: {known}"))
        };
        Err(Refusal::options("ListOptions", &[cause]))
    }

    fn too_old(&self, asked: u64, state: &State) -> Refusal {
        if self.continued.is_none() {
            return Refusal::expired(asked, state.store.compacted());
        }
        let message = "The provided continue parameter is too old to display a consistent list result. You must start a new \
            list without the continue parameter.";
        Refusal::new(410, "Expired", message)
    }
}

/// A revision as requests write it.
pub(super) fn parse_revision(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| {
        Refusal::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: \
             invalid syntax"
        ))
    })
}

fn place(object: &Value) -> (String, String) {
    (text(object, "namespace").to_owned(), text(object, "name").to_owned())
}

fn token(revision: u64, last: &Value) -> String {
    let (namespace, name) = place(last);
    BASE64_URL_SAFE_NO_PAD.encode(json!([revision, namespace, name]).to_string())
}

fn read_token(token: &str) -> Option<Start> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    let (revision, namespace, name) = serde_json::from_slice(&bytes).ok()?;
    Some(Start { revision, after: Some((namespace, name)) })
}
