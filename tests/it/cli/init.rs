//! `tidegate init` on the layouts of `examples/adopt`, as files and as a person calls it.

use std::path::Path;
use std::process::Command;

use super::fixture::{Answer, BINARY, Call, Folder, call};

pub const LAYOUTS: [&str; 3] = ["kustomize-images", "plain-manifests", "helm-values"];

/// `init` in the root of a layout.
fn init(layout: &str, args: &[&str]) -> Answer {
    init_at(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/adopt").join(layout), args)
}

fn init_at(folder: &Path, args: &[&str]) -> Answer {
    let output = Command::new(BINARY)
        .arg("init")
        .args(args)
        .env_clear()
        .current_dir(folder)
        .output()
        .expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the binary writes UTF-8");
    Answer {
        code: output.status.code().expect("no signal ended it"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

#[test]
fn each_layout_gives_a_set_a_diff_and_the_risk() {
    for layout in LAYOUTS {
        insta::assert_snapshot!(format!("init_{}", layout.replace('-', "_")), init(layout, &[]).whole());
    }
    insta::assert_snapshot!("init_json", init("helm-values", &["-o", "json", "-q"]).whole());
}

#[test]
fn each_set_is_free_of_mistakes_and_each_diff_applies_and_is_then_done() {
    for layout in LAYOUTS {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/adopt").join(layout);
        let folder = Folder::new(&format!("init-{layout}"));
        let copied =
            Command::new("cp").arg("-r").arg(format!("{}/.", root.display())).arg(&folder.0).status();
        assert!(copied.expect("cp runs").success());
        let (set, diff) = (init_at(&folder.0, &["-q"]), init_at(&folder.0, &["-q", "-o", "diff"]));
        assert_eq!((set.code, diff.code), (0, 0));
        let linted = Call::new(&["lint", "-f", "-"]).stdin(set.stdout.as_str()).answer();
        assert_eq!(linted.code, 0, "{}", linted.whole());
        std::fs::write(folder.0.join("changes.diff"), &diff.stdout).unwrap();
        let applied = Command::new("git")
            .args(["apply", "changes.diff"])
            .current_dir(&folder.0)
            .status()
            .expect("git runs");
        assert!(applied.success(), "{layout}: {}", diff.stdout);
        std::fs::write(folder.0.join("release-set.yaml"), &set.stdout).unwrap();
        // Once it is adopted there is nothing left to adopt.
        let again = init_at(&folder.0, &[]);
        assert_eq!((again.code, again.stdout.as_str()), (3, ""), "{layout}: {}", again.stderr);
    }
}

#[test]
fn standard_input_is_read_and_there_is_no_file_to_change() {
    let text = std::fs::read_to_string(format!(
        "{}/examples/adopt/kustomize-images/apps/kustomization.yaml",
        env!("CARGO_MANIFEST_DIR")
    ));
    let text = text
        .expect("the example is there")
        .replace("kind: Kustomization\n", "kind: Kustomization\nmetadata: {name: x}\n");
    let flux = std::fs::read_to_string(format!(
        "{}/examples/adopt/kustomize-images/flux/app.yaml",
        env!("CARGO_MANIFEST_DIR")
    ));
    let all = format!("{}---\n{text}", flux.expect("the example is there"));
    let answer = Call::new(&["init", "-", "-o", "diff"]).stdin(all).answer();
    assert_eq!((answer.code, answer.stdout.as_str()), (0, ""), "{}", answer.whole());
    assert!(answer.stderr.contains("markers are in Git alone"), "{}", answer.stderr);
}

#[test]
fn nothing_and_what_cannot_be_read_are_said() {
    let folder = Folder::new("init-nothing");
    std::fs::write(folder.0.join("a.yaml"), "kind: ConfigMap\nmetadata: {name: a}\n").unwrap();
    insta::assert_snapshot!("init_nothing", init_at(&folder.0, &[]).whole());
    std::fs::write(folder.0.join("b.yaml"), "a: [1}\n").unwrap();
    std::fs::write(folder.0.join("c.yaml"), [0x61, 0xff]).unwrap();
    std::os::unix::fs::symlink("a.yaml", folder.0.join("d.yaml")).unwrap();
    std::fs::create_dir_all(folder.0.join("chart/templates")).unwrap();
    std::fs::write(folder.0.join("chart/Chart.yaml"), "name: x\n").unwrap();
    std::fs::write(folder.0.join("chart/templates/x.yaml"), "{{ if }}\n").unwrap();
    insta::assert_snapshot!("init_unread", init_at(&folder.0, &[]).whole());
    insta::assert_snapshot!("init_no_folder", call(&["init", "nowhere"]).whole());
    assert_eq!(call(&["init", "-n", "acme"]).code, 2, "a namespace is of a cluster");
}
