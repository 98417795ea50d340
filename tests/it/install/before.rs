//! The chart that there would have been before this one: the CRD, the rules and the program of the last commit without a
//! chart, as its users applied them by hand.

use std::fs;
use std::path::{Path, PathBuf};

use super::image::Source;
use crate::cluster::server::folder;

/// Its version, as helm and the label `helm.sh/chart` know it.
pub const VERSION: &str = "0.0.1";

/// The files of that commit as they are: helm must not read them as templates.
const FILES: &str = "{{ .Files.Get \"files/crd.yaml\" }}\n---\n{{ .Files.Get \"files/rbac.yaml\" }}\n";

/// What its users wrote themselves: a service account by the name that the rules give, and a Deployment.
const CONTROLLER: &str = r"
apiVersion: v1
kind: ServiceAccount
metadata: {name: tidegate}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: tidegate}
spec:
  replicas: 2
  selector:
    matchLabels: {app.kubernetes.io/name: tidegate, app.kubernetes.io/instance: {{ .Release.Name }}}
  template:
    metadata:
      labels: {app.kubernetes.io/name: tidegate, app.kubernetes.io/instance: {{ .Release.Name }}}
    spec:
      serviceAccountName: tidegate
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: controller
        image: {{ .Values.image.repository }}:{{ .Values.image.tag }}
        args: [controller]
        readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: {drop: [ALL]}
";

/// A chart in a folder that is removed with it.
#[derive(Debug)]
pub struct Before(PathBuf);

// === impl Before ===

impl Before {
    /// Writes it.
    pub fn write() -> Self {
        let (source, chart) = (Source::Before.files(), folder("chart"));
        let write = |name: &str, text: &str| {
            let path = chart.join(name);
            fs::create_dir_all(path.parent().expect("it lies in the chart")).expect("the folder is ours");
            fs::write(path, text).expect("the folder is ours");
        };
        let read = |name: &str| fs::read_to_string(source.join(name)).expect("the commit has it");
        write("Chart.yaml", &format!("apiVersion: v2\nname: tidegate\nversion: {VERSION}\n"));
        write("files/crd.yaml", &read("crds/tidegate.dev_releasesets.yaml"));
        write("files/rbac.yaml", &read("docs/install/rbac.yaml"));
        write("templates/files.yaml", FILES);
        write("templates/controller.yaml", CONTROLLER);
        Self(chart)
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
