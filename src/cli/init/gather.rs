//! The texts that `init` reads: files, folders and standard input. What cannot be read is named and left out.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::api::manifest::TEXT_MAX_BYTES;
use crate::cli::error::{CliError, Result};

/// Most files of one call: the largest public fleet repositories hold some thousands.
const FILES_MAX: usize = 10_000;
/// Most bytes of all files: [`FILES_MAX`] manifests of 6 KiB, three times what one takes on average.
const BYTES_MAX: usize = FILES_MAX * 6 * 1024;
/// Deepest folder below a path; `clusters/production/tenant/team/app/overlays/region` has seven.
const FOLDERS_MAX: usize = 32;

/// One text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path as a diff names it, with `/`; `standard input`; or an object of a cluster.
    pub name: String,
    /// What is in it.
    pub text: String,
    /// It is a file that a diff can change.
    pub is_file: bool,
}

/// Something that was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// What.
    pub name: String,
    /// Why.
    pub why: String,
}

/// Everything that was gathered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// Texts, in the order of their names.
    pub sources: Vec<Source>,
    /// What could hold an image and was not read.
    pub unread: Vec<Unread>,
    /// What was left out on purpose.
    pub left_out: Vec<Unread>,
    /// Bytes of all texts.
    pub bytes: usize,
}

/// Reads every path.
///
/// # Errors
/// When a path that was named cannot be read at all.
pub fn gather(paths: &[PathBuf]) -> Result<Gathered> {
    let mut gathered = Gathered::default();
    for path in paths {
        if path.as_os_str() == "-" {
            gathered.take("standard input", false, read_some(io::stdin().lock()));
            continue;
        }
        let failed = |error: &io::Error| {
            CliError::new(format!("failed to read {}", path.display()))
                .caused_by(error)
                .hint("name files or folders of YAML; `-` reads standard input")
        };
        if fs::metadata(path).map_err(|error| failed(&error))?.is_dir() {
            // What is named absolutely is told relative to itself, so that the diff applies there.
            let root = if path.is_absolute() { path.as_path() } else { Path::new("") };
            fs::read_dir(path).map_err(|error| failed(&error))?;
            gathered.folder(path, root, 0);
        } else {
            let read = File::open(path).and_then(read_some);
            gathered.take(&name(path, Path::new("")), true, read);
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    gathered.sources.retain(|source| !source.is_file || seen.insert(source.name.clone()));
    Ok(gathered)
}

/// A path as diffs write it.
fn name(path: &Path, root: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    let parts = path.components().filter(|part| !matches!(part, std::path::Component::CurDir));
    parts.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect::<Vec<_>>().join("/")
}

fn read_some(from: impl Read) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(TEXT_MAX_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
        || path.file_name().is_some_and(|name| name == "Kustomization")
}

// === impl Gathered ===

impl Gathered {
    fn folder(&mut self, folder: &Path, root: &Path, depth: usize) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.miss(&name(folder, root), error.to_string()),
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let is_chart = paths.iter().any(|path| path.file_name().is_some_and(|name| name == "Chart.yaml"));
        for path in paths {
            let Some(file) = path.file_name().map(|file| file.to_string_lossy().into_owned()) else {
                continue;
            };
            if file.starts_with('.') || file == "node_modules" {
                continue;
            }
            let named = name(&path, root);
            let Ok(kind) = fs::symlink_metadata(&path) else { continue };
            if kind.is_symlink() {
                if is_yaml(&path) || path.is_dir() {
                    self.leave(&named, "is a symbolic link; name what it points to, if that lies elsewhere");
                }
            } else if kind.is_dir() && is_chart && file == "templates" {
                self.leave(&named, "holds templates of a Helm chart, which are no YAML yet");
            } else if kind.is_dir() && depth >= FOLDERS_MAX {
                self.miss(&named, format!("lies more than {FOLDERS_MAX} folders deep"));
            } else if kind.is_dir() {
                self.folder(&path, root, depth + 1);
            } else if kind.is_file() && is_yaml(&path) {
                if self.sources.len() >= FILES_MAX || self.bytes >= BYTES_MAX {
                    let why =
                        format!("more than {FILES_MAX} files, or {BYTES_MAX} bytes: name fewer folders");
                    return self.miss(&named, why);
                }
                self.take(&named, true, File::open(&path).and_then(read_some));
            }
        }
    }

    fn take(&mut self, name: &str, is_file: bool, read: io::Result<Vec<u8>>) {
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => return self.miss(name, error.to_string()),
        };
        if bytes.len() > TEXT_MAX_BYTES {
            return self.miss(name, format!("is larger than {TEXT_MAX_BYTES} bytes"));
        }
        self.bytes += bytes.len();
        match String::from_utf8(bytes) {
            Ok(text) => self.sources.push(Source { name: name.to_owned(), text, is_file }),
            Err(error) => {
                let at = error.utf8_error().valid_up_to() + 1;
                self.miss(name, format!("byte {at} is no UTF-8"));
            }
        }
    }

    fn miss(&mut self, name: &str, why: String) {
        self.unread.push(Unread { name: name.to_owned(), why });
    }

    fn leave(&mut self, name: &str, why: &str) {
        self.left_out.push(Unread { name: name.to_owned(), why: why.to_owned() });
    }
}
