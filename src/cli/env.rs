//! The only place that reads the environment.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the environment says, read once at the start.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The user's docker config file: below `DOCKER_CONFIG`, else below `~/.docker`. It need not exist.
    pub docker_config_file: Option<PathBuf>,
    /// `PATH`, where credential helpers are looked for.
    pub search_path: Option<OsString>,
    /// `NO_COLOR` is set and not empty (no-color.org).
    pub no_color: bool,
    /// `TERM` is `dumb`.
    pub dumb_terminal: bool,
    /// The process runs in a pod, and talks to that pod's cluster: Kubernetes' variable is set, and no kubeconfig is.
    pub in_pod: bool,
    /// `HOSTNAME`: in a pod its name.
    pub host_name: Option<String>,
}

// === impl Environment ===

impl Environment {
    /// Reads the process's environment.
    pub fn read() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name: &str| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = || path("HOME").or_else(|| path("USERPROFILE")).map(|home| home.join(".docker"));
        Self {
            docker_config_file: path("DOCKER_CONFIG").or_else(home).map(|folder| folder.join("config.json")),
            search_path: lookup("PATH"),
            no_color: lookup("NO_COLOR").is_some_and(|value| !value.is_empty()),
            dumb_terminal: lookup("TERM").is_some_and(|value| value == "dumb"),
            in_pod: lookup("KUBERNETES_SERVICE_HOST").is_some() && lookup("KUBECONFIG").is_none(),
            host_name: lookup("HOSTNAME").and_then(|name| name.into_string().ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_lookup(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_docker_config_is_found_as_docker_finds_it() {
        let file = |pairs: &[(&str, &str)]| read(pairs).docker_config_file;
        assert_eq!(file(&[("HOME", "/h")]), Some(PathBuf::from("/h/.docker/config.json")));
        assert_eq!(file(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d")]), Some(PathBuf::from("/d/config.json")));
        assert_eq!(
            file(&[("HOME", "/h"), ("DOCKER_CONFIG", "")]),
            Some(PathBuf::from("/h/.docker/config.json"))
        );
        assert_eq!(file(&[]), None);
    }

    #[test]
    fn a_pod_is_told_from_a_shell_with_a_kubeconfig() {
        let service = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
        assert!(read(&[service]).in_pod);
        assert!(!read(&[service, ("KUBECONFIG", "/k")]).in_pod, "it talks to another cluster");
        assert!(!read(&[]).in_pod);
    }

    #[test]
    fn colour_is_refused_by_a_value_only() {
        assert!(read(&[("NO_COLOR", "1")]).no_color);
        assert!(!read(&[("NO_COLOR", "")]).no_color);
        assert!(read(&[("TERM", "dumb")]).dumb_terminal);
    }
}
