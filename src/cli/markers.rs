//! The `$imagepolicy` markers of a folder: comments in YAML, which a cluster does not keep. A scan by lines, not a reader
//! of manifests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// Most files that are read: ten times what a large fleet repository holds.
const FILES_MAX: usize = 20_000;
/// Most folders that are entered: the same.
const FOLDERS_MAX: usize = 20_000;
/// Largest file that is read, as etcd takes no larger object.
const FILE_MAX_BYTES: u64 = 1 << 20;
/// Lines above and below a marker among which its image is looked for: an entry of kustomize's `images` has four.
const NEAR_LINES: usize = 4;

/// What a marker looks like (fluxcd/image-automation-controller, `Setters`).
static MARKER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"#\s*\{\s*"\$imagepolicy"\s*:\s*"([^":\s]+):([^":\s]+)(?::([a-z]+))?"\s*\}"#).ok()
});

/// One marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// File, relative to the folder.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Namespace of the policy.
    pub namespace: String,
    /// Name of the policy.
    pub policy: String,
    /// `tag`, `name` or `digest`; `None` for the whole reference.
    pub part: Option<String>,
    /// Repositories that the marked line or those around it name, nearest first.
    pub repositories: Vec<String>,
}

/// Every marker of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markers {
    /// In the order of files and lines.
    pub markers: Vec<Marker>,
    /// Why the scan is not whole, if it is not.
    pub incomplete: Option<String>,
}

/// Reads every `.yaml` and `.yml` file below `folder`; hidden folders are left out, and symbolic links not followed.
///
/// # Errors
/// When the folder itself cannot be read.
pub fn scan(folder: &Path) -> std::io::Result<Markers> {
    let mut found = Markers::default();
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    let mut entered = 0;
    while let Some(next) = folders.pop() {
        entered += 1;
        if entered > FOLDERS_MAX || files.len() > FILES_MAX {
            found.incomplete = Some(format!("the folder holds more than {FILES_MAX} files or folders"));
            break;
        }
        let entries = match fs::read_dir(&next) {
            Ok(entries) => entries,
            Err(error) if next == folder => return Err(error),
            Err(error) => {
                found.incomplete = Some(format!("{} cannot be read: {error}", next.display()));
                continue;
            }
        };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let (path, name) = (entry.path(), entry.file_name());
            if kind.is_dir() && !name.to_string_lossy().starts_with('.') {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
                files.push(path);
            }
        }
    }
    files.sort();
    for path in files.iter().take(FILES_MAX) {
        let name = path.strip_prefix(folder).unwrap_or(path);
        match read(path) {
            Ok(text) => found.markers.extend(of_text(name, &text)),
            Err(error) => found.incomplete = Some(format!("{} cannot be read: {error}", name.display())),
        }
    }
    Ok(found)
}

fn read(path: &Path) -> std::io::Result<String> {
    if fs::metadata(path)?.len() > FILE_MAX_BYTES {
        return Err(std::io::Error::other(format!("it is larger than {FILE_MAX_BYTES} bytes")));
    }
    fs::read_to_string(path)
}

/// The markers of one text.
pub fn of_text(file: &Path, text: &str) -> Vec<Marker> {
    let Some(pattern) = MARKER.as_ref() else { return Vec::new() };
    let lines: Vec<&str> = text.lines().collect();
    let marker = |(index, line): (usize, &&str)| {
        let found = pattern.captures(line)?;
        Some(Marker {
            file: file.to_owned(),
            line: index + 1,
            namespace: found[1].to_owned(),
            policy: found[2].to_owned(),
            part: found.get(3).map(|part| part.as_str().to_owned()),
            repositories: near(&lines, index),
        })
    };
    lines.iter().enumerate().filter_map(marker).collect()
}

/// Values like a repository on the marked line, else of the same entry around it, nearest first.
fn near(lines: &[&str], index: usize) -> Vec<String> {
    let own = repository(lines[index]);
    if own.is_some() {
        return own.into_iter().collect();
    }
    let depth = indent(lines[index]);
    let is_same = |line: &&&str| indent(line) == depth && !line.trim().is_empty();
    // A line that begins an entry of a list belongs to it, and ends the way up.
    let mut above = Vec::new();
    if !lines[index].trim_start().starts_with("- ") {
        for line in lines[..index].iter().rev().take(NEAR_LINES).take_while(is_same) {
            above.push(*line);
            if line.trim_start().starts_with("- ") {
                break;
            }
        }
    }
    let below = lines[index + 1..].iter().take(NEAR_LINES);
    let below = below.take_while(|line| is_same(line) && !line.trim_start().starts_with("- "));
    let mut found: Vec<String> = above.into_iter().chain(below.copied()).filter_map(repository).collect();
    found.dedup();
    found
}

/// Columns before the key, `- ` counted as two of them.
fn indent(line: &str) -> usize {
    line.len() - line.trim_start().trim_start_matches("- ").len()
}

/// The value of a line `key: host/path[:tag][@digest]`, without tag and digest.
fn repository(line: &str) -> Option<String> {
    let (key, value) = line.split_once(": ")?;
    let key = key.trim().trim_start_matches("- ").trim_matches('"');
    if !["image", "name", "newName", "repository"].contains(&key) {
        return None;
    }
    let value = value.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
    let value = value.split('@').next().unwrap_or_default();
    let name = match value.rsplit_once('/') {
        Some((host, last)) => format!("{host}/{}", last.split(':').next().unwrap_or_default()),
        None => value.split(':').next().unwrap_or_default().to_owned(),
    };
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Marker {
        let mut found = of_text(Path::new("a.yaml"), text);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn a_marker_knows_whose_image_it_sets() {
        let whole = one(
            "  containers:\n  - name: app\n    image: ghcr.io:443/acme/app:v1 # {\"$imagepolicy\": \"acme:shop\"}\n",
        );
        assert_eq!((whole.line, whole.namespace.as_str(), whole.policy.as_str()), (3, "acme", "shop"));
        assert_eq!((whole.part, whole.repositories), (None, vec!["ghcr.io:443/acme/app".to_owned()]));
        let tag = one(
            "images:\n- name: acme/docs\n  newName: ghcr.io/acme/docs\n  newTag: v1 # {\"$imagepolicy\": \"acme:shop:tag\"}\n- name: acme/app\n",
        );
        assert_eq!(tag.part.as_deref(), Some("tag"));
        assert_eq!(tag.repositories, ["ghcr.io/acme/docs", "acme/docs"]);
        let values = one(
            "  image:\n    tag: v1 # {\"$imagepolicy\": \"acme:shop:tag\"}\n    repository: ghcr.io/acme/app\n",
        );
        assert_eq!(values.repositories, ["ghcr.io/acme/app"]);
        let bare = one("  tag: v1 # {\"$imagepolicy\": \"acme:shop:tag\"}\n");
        assert_eq!(bare.repositories, Vec::<String>::new());
    }

    #[test]
    fn what_is_no_marker_is_passed_over() {
        assert_eq!(of_text(Path::new("a.yaml"), "image: a # {\"$policy\": \"a:b\"}\n# $imagepolicy\n"), []);
    }

    #[test]
    fn a_folder_is_read_without_what_is_hidden() {
        let folder = std::env::temp_dir().join(format!("tidegate-markers-{}", std::process::id()));
        for (name, text) in [
            ("apps/a.yaml", "image: x/a:1 # {\"$imagepolicy\": \"acme:shop\"}\n"),
            (".git/b.yaml", "image: x/b:1 # {\"$imagepolicy\": \"acme:shop\"}\n"),
            ("c.txt", "image: x/c:1 # {\"$imagepolicy\": \"acme:shop\"}\n"),
        ] {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = scan(&folder).unwrap();
        let files: Vec<_> = found.markers.iter().map(|marker| marker.file.display().to_string()).collect();
        assert_eq!(files, ["apps/a.yaml"]);
        assert_eq!(found.incomplete, None);
        fs::remove_dir_all(&folder).unwrap();
        assert!(scan(&folder).is_err());
    }
}
