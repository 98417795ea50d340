//! Secrets and service accounts of one namespace, by name and each at most once in a reconcile, however many images
//! and purposes name it. Never lists, never watches; must never know what a Secret is used for.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Api;
use tokio::sync::Mutex;

use crate::controller::context::{Context, within_deadline};

/// Why an object cannot be used, in words that go into a doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not there.
    Absent,
    /// The API server refused or did not answer; how it said so.
    Refused(String),
}

/// What was read of one kind, by name.
type Known<T> = Mutex<BTreeMap<String, Result<T, Unreadable>>>;

/// Reads objects of one namespace, each at most once.
pub struct Reader<'a> {
    context: &'a Context,
    namespace: &'a str,
    secrets: Known<Arc<Secret>>,
    accounts: Known<Vec<String>>,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// A reader that has read nothing.
    pub fn new(context: &'a Context, namespace: &'a str) -> Self {
        Self { context, namespace, secrets: Mutex::default(), accounts: Mutex::default() }
    }

    /// The namespace that is read.
    pub fn namespace(&self) -> &str {
        self.namespace
    }

    /// A Secret.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub async fn secret(&self, name: &str) -> Result<Arc<Secret>, Unreadable> {
        let mut secrets = self.secrets.lock().await;
        if let Some(known) = secrets.get(name) {
            return known.clone();
        }
        let api: Api<Secret> = Api::namespaced(self.context.client.clone(), self.namespace);
        let read = match within_deadline("read the Secret", api.get_opt(name)).await {
            Ok(Some(secret)) => Ok(Arc::new(secret)),
            Ok(None) => Err(Unreadable::Absent),
            Err(error) => Err(Unreadable::Refused(error.to_string())),
        };
        secrets.insert(name.to_owned(), read.clone());
        read
    }

    /// Names of the pull secrets of a service account.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub async fn pull_secrets_of_account(&self, name: &str) -> Result<Vec<String>, Unreadable> {
        let mut accounts = self.accounts.lock().await;
        if let Some(known) = accounts.get(name) {
            return known.clone();
        }
        let api: Api<ServiceAccount> = Api::namespaced(self.context.client.clone(), self.namespace);
        let read = match within_deadline("read the ServiceAccount", api.get_opt(name)).await {
            Ok(Some(account)) => {
                let secrets = account.image_pull_secrets.unwrap_or_default();
                Ok(secrets.into_iter().map(|secret| secret.name).collect())
            }
            Ok(None) => Err(Unreadable::Absent),
            Err(error) => Err(Unreadable::Refused(error.to_string())),
        };
        accounts.insert(name.to_owned(), read.clone());
        read
    }
}
