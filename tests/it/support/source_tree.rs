//! Reads the project's own files for the tests of the architecture and the documents.

use std::fs;
use std::path::Path;

/// A source file.
pub(crate) struct SourceFile {
    /// The path relative to the project root, with `/` as separator.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Reads the file at `path`, relative to the project root.
pub(crate) fn read(path: &str) -> String {
    let full_path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&full_path)
        .unwrap_or_else(|error| panic!("{}: {error}", full_path.display()))
}

/// Whether `path`, relative to the project root, exists.
pub(crate) fn exists(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// All Rust files in `folder` and its subfolders, sorted by path.
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
