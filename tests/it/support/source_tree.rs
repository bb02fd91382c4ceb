//! The project's own files, as text, for the tests that hold them to the rules.

use std::fs;
use std::path::Path;

/// A file of the project.
pub(crate) struct SourceFile {
    /// Where it is, from the top of the project, with `/` between.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The file at `path`, from the top of the project.
pub(crate) fn read(path: &str) -> String {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&whole).unwrap_or_else(|error| panic!("{}: {error}", whole.display()))
}

/// Whether there is something at `path`, from the top of the project.
pub(crate) fn exists(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// All Rust files in `folder` and below it, by path.
pub(crate) fn rust_files(folder: &str) -> Vec<SourceFile> {
    let mut files = Vec::new();
    collect(Path::new(env!("CARGO_MANIFEST_DIR")), folder, &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!files.is_empty(), "no Rust file in {folder}");
    files
}

fn collect(top: &Path, folder: &str, files: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(top.join(folder)).unwrap() {
        let entry = entry.unwrap().path();
        let path = format!("{folder}/{}", entry.file_name().unwrap().to_str().unwrap());
        if entry.is_dir() {
            collect(top, &path, files);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(SourceFile { text: read(&path), path });
        }
    }
}
