//! `--smoke-exec`: a command of the user's instead of a Job.

use std::os::unix::fs::PermissionsExt as _;

use super::fixture::{Answer, Call, Folder, IMAGES, Shop, child};

/// What this machine runs, and what it does not.
const NATIVE: &str = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };
const FOREIGN: &str = if cfg!(target_arch = "aarch64") { "linux/amd64" } else { "linux/arm64" };

/// A shop with a command that keeps how it was called, and then does what `script` says.
struct Tested {
    shop: Shop,
    folder: Folder,
}

impl Tested {
    async fn new(name: &str, script: &str) -> Self {
        let folder = Folder::new(&format!("smoke-exec-{name}"));
        let shop = Shop::open().await;
        let text = format!(
            "#!/bin/sh\n{{ echo \"args $*\"; env | grep -E '^(TIDEGATE_|LEVEL|LD_)' | sort; }} >>'{}'\n{script}\n",
            folder.0.join("calls").display()
        );
        let program = folder.0.join("run");
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let tested = Self { shop, folder };
        for image in IMAGES {
            tested.push(image, "main-7");
        }
        tested
    }

    fn push(&self, image: &str, tag: &str) {
        self.shop.push(image, tag, &[NATIVE, FOREIGN]);
    }

    /// `command` with a gate of these fields; `{run}` in `args` is the program.
    fn call(&self, command: &str, platforms: &str, gate: &str, args: &[&str]) -> Answer {
        let gates = format!("  gates: [{{name: worker-boots, smoke: {{image: worker, {gate}}}}}]\n");
        let set = self.shop.release_set(&format!(", platforms: [{platforms}]"), &gates);
        let run = self.folder.0.join("run").display().to_string();
        let args: Vec<String> = args.iter().map(|arg| arg.replace("{run}", &run)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let args: Vec<&str> = [command, "-f", "-", "--tag", "main-7"].into_iter().chain(args).collect();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut answer = self.shop.same_everywhere(Call::new(&args).env("PATH", path).stdin(set).answer());
        answer.stderr = answer.stderr.replace(&run, "run");
        answer
    }

    fn check(&self, gate: &str, args: &[&str]) -> Answer {
        self.call("check", NATIVE, gate, args)
    }

    /// How the command was called, and what it saw.
    fn calls(&self) -> String {
        let calls = std::fs::read_to_string(self.folder.0.join("calls")).unwrap_or_default();
        calls.replace(&self.shop.registry.host(), "registry.test")
    }
}

fn reference() -> String {
    format!("registry.test/shop/worker@{}", child("worker", "main-7", NATIVE).manifest.digest)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_sees_what_a_job_would_and_its_exit_code_passes() {
    let tested = Tested::new("passes", "echo to the report?; exit 0").await;
    let gate = "command: [/app, --self-check], env: [{name: LEVEL, value: debug}]";
    let answer = tested.check(gate, &["--require-smoke", "--smoke-exec", "{run} --rm"]);
    assert_eq!(answer.code, 0, "{}", answer.whole());
    assert!(answer.stdout.contains("worker-boots   Passed"), "{}", answer.whole());
    assert!(answer.stderr.contains("to the report?") && !answer.stdout.contains("to the report?"));
    let reference = reference();
    assert_eq!(
        tested.calls(),
        format!(
            "args --rm {reference} /app --self-check\nLEVEL=debug\nTIDEGATE_IMAGE={reference}\nTIDEGATE_PLATFORM={NATIVE}\n"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_tried_as_often_as_the_gate_says_and_is_exit_code_4() {
    let tested = Tested::new("fails", "echo 'panic: no database' >&2; exit 3").await;
    let answer = tested.check("attempts: 2", &["--smoke-exec", "{run}"]);
    assert_eq!(answer.code, 4, "{}", answer.whole());
    assert_eq!(tested.calls().matches("args ").count(), 2);
    assert!(answer.stdout.contains("worker-boots   Failed"), "{}", answer.whole());
    assert!(answer.stderr.contains("attempt 2 of 2") && answer.stderr.contains("panic: no database"));
    assert!(answer.stdout.contains("exited with code 3"), "{}", answer.whole());
    assert!(
        answer.stderr.contains("hint: see above what the command of worker-boots wrote"),
        "{}",
        answer.whole()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_of_the_release_sees_the_siblings_and_the_reference_stands_where_it_should() {
    let tested = Tested::new("complete", "").await;
    let answer = tested.check("when: Complete", &["--smoke-exec", "{run} --image={image} 'a b'"]);
    assert_eq!(answer.code, 0, "{}", answer.whole());
    let calls = tested.calls();
    assert!(calls.starts_with(&format!("args --image={} a b\n", reference())), "{calls}");
    assert!(calls.contains("TIDEGATE_TAG=main-7\n"), "{calls}");
    for image in ["APP", "WORKER", "EMBEDDINGS"] {
        let variable = format!("TIDEGATE_IMAGE_{image}=registry.test/shop/{}@sha256:", image.to_lowercase());
        assert!(calls.contains(&variable), "{calls}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_machine_does_not_run_is_named_and_not_called_passed() {
    let tested = Tested::new("foreign", "").await;
    let both = format!("{NATIVE}, {FOREIGN}");
    let call = |args: &[&str]| tested.call("check", &both, "timeout: 1m", args);
    let answer = call(&["--smoke-exec", "{run}"]);
    assert_eq!(answer.code, 0, "by the rest: {}", answer.whole());
    let named = format!("not run: has no verdict on {FOREIGN}: this machine runs {NATIVE}");
    assert!(answer.stdout.contains(&named), "{}", answer.whole());
    assert!(answer.stderr.contains("a required smoke test was not run (worker-boots)"), "{}", answer.whole());
    assert_eq!(tested.calls().matches("args ").count(), 1);
    assert_eq!(call(&["--smoke-exec", "{run}", "--require-smoke"]).code, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_hangs_or_is_a_service_is_ended() {
    let tested = Tested::new("hangs", "exec sleep 60").await;
    let hangs = tested.check("timeout: 1s, attempts: 1", &["--smoke-exec", "{run}"]);
    assert_eq!(hangs.code, 4, "{}", hangs.whole());
    assert!(hangs.stdout.contains("timed out after 1s"), "{}", hangs.whole());
    let service = tested.check("timeout: 1m, expect: StaysUp, for: 1s", &["--smoke-exec", "{run}"]);
    assert_eq!(service.code, 0, "{}", service.whole());
    // A wait that is over takes its command with it.
    let started = tokio::time::Instant::now();
    let waited = tested.call("wait", NATIVE, "timeout: 1m", &["--smoke-exec", "{run}", "--timeout", "1s"]);
    assert_eq!(waited.code, 5, "{}", waited.whole());
    assert!(waited.stdout.contains("Wait: gate worker-boots was not run"), "{}", waited.whole());
    assert!(started.elapsed().as_secs() < 9, "the command was told to end");
}

/// The file may come from a pull request; it must not rule the machine that checks it.
#[tokio::test(flavor = "multi_thread")]
async fn what_would_steer_the_command_itself_is_left_out() {
    let tested = Tested::new("steer", "").await;
    let gate = "env: [{name: LD_PRELOAD, value: /tmp/x.so}, {name: LEVEL, value: info}]";
    let answer = tested.check(gate, &["--smoke-exec", "{run}"]);
    assert_eq!(answer.code, 0, "{}", answer.whole());
    assert!(answer.stderr.contains("env LD_PRELOAD of gate worker-boots is left out"), "{}", answer.whole());
    assert!(!tested.calls().contains("LD_PRELOAD") && tested.calls().contains("LEVEL=info"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_run_is_an_error_and_no_verdict() {
    let tested = Tested::new("absent", "").await;
    let answer = tested.check("timeout: 1m", &["--smoke-exec", "no-such-program-here run"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{}", answer.whole());
    assert!(answer.stderr.contains("failed to run `no-such-program-here`"), "{}", answer.whole());
    assert_eq!(tested.check("timeout: 1m", &["--smoke-exec", "docker 'run"]).code, 2);
}

/// Eager: the failure is known before the siblings are there. And a verdict is not asked for twice.
#[tokio::test(flavor = "multi_thread")]
async fn wait_tests_once_and_before_the_siblings_are_there() {
    let tested = Tested::new("eager", "exit 1").await;
    tested.shop.registry.delete_tag("shop/app", "main-7");
    let failed = tested.call("wait", NATIVE, "attempts: 1", &["--smoke-exec", "{run}"]);
    assert_eq!(failed.code, 4, "{}", failed.whole());
    let passing = Tested::new("once", "").await;
    passing.shop.registry.delete_tag("shop/app", "main-7");
    let waited = passing.call("wait", NATIVE, "attempts: 1", &["--smoke-exec", "{run}", "--timeout", "8s"]);
    assert_eq!(waited.code, 5, "{}", waited.whole());
    assert_eq!(passing.calls().matches("args ").count(), 1, "{}", passing.calls());
}
