//! A disk that a test can fill up, break, or cut off from power. The work is done by `faulty_disk.c`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails on a panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tempfile::TempDir;

/// The unit that a disk writes atomically, in bytes.
const SECTOR: usize = 512;

/// The compiled `faulty_disk.c`, built once for all tests; `None` without a C compiler.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let built = LIBRARY.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        let (source, library) =
            (folder.path().join("faulty_disk.c"), folder.path().join("disk.so"));
        fs::write(&source, include_str!("faulty_disk.c")).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl");
        let output = compiler.output();
        match output {
            Ok(output) if output.status.success() => Some((folder, library)),
            Ok(output) => panic!("faulty_disk.c: {}", String::from_utf8_lossy(&output.stderr)),
            Err(_) => None,
        }
    });
    built.as_ref().map(|(_, library)| library.as_path())
}

/// The simulated disk under a server's log.
pub(crate) struct FaultyDisk {
    library: &'static Path,
    data: PathBuf,
    folder: TempDir,
}

impl FaultyDisk {
    /// Creates the disk for the log in `data`. Without a C compiler it returns `None` with a note, so that the
    /// caller can skip its test; on CI it panics.
    pub(crate) fn create(data: &Path) -> Option<Self> {
        let Some(library) = library() else {
            assert!(std::env::var_os("CI").is_none(), "no C compiler (cc) found: install one");
            crate::support::print_result(
                "NOT TESTED: disk faults, because no C compiler (cc) was found",
            );
            return None;
        };
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("synced")).unwrap();
        // The library sees real paths only.
        Some(Self { library, data: data.canonicalize().unwrap(), folder })
    }

    /// Makes a server use this disk.
    pub(crate) fn attach<'a>(&self, server: &'a mut Command) -> &'a mut Command {
        server.env("LD_PRELOAD", self.library).env("DISK_DATA", &self.data);
        server.env("DISK_SYNCED", self.synced_folder()).env("DISK_FAULT", self.fault_file())
    }

    /// Starts a fault: `full` or `broken`.
    pub(crate) fn fail_with(&self, fault: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, fault).unwrap();
        fs::rename(new, self.fault_file()).unwrap();
    }

    /// Ends the fault.
    pub(crate) fn repair(&self) {
        fs::remove_file(self.fault_file()).unwrap();
    }

    /// Leaves on disk what a power cut leaves: everything synced and, of later writes, either nothing or a random
    /// subset of sectors.
    pub(crate) fn cut_power(&self, rng: &mut StdRng) {
        let is_torn = rng.random();
        for entry in fs::read_dir(&self.data).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if !name.starts_with("log.db") {
                continue;
            }
            let synced = self.synced_folder().join(name);
            let Ok(mut content) = fs::read(&synced) else {
                fs::remove_file(&path).unwrap();
                continue;
            };
            if is_torn {
                tear_sectors(&mut content, &fs::read(&path).unwrap(), rng);
            }
            fs::write(&path, &content).unwrap();
            fs::write(&synced, &content).unwrap();
        }
    }

    fn synced_folder(&self) -> PathBuf {
        self.folder.path().join("synced")
    }

    fn fault_file(&self) -> PathBuf {
        self.folder.path().join("fault")
    }
}

fn tear_sectors(content: &mut Vec<u8>, written: &[u8], rng: &mut StdRng) {
    for (index, sector) in written.chunks(SECTOR).enumerate() {
        let (start, end) = (index * SECTOR, index * SECTOR + sector.len());
        if rng.random() {
            content.resize(content.len().max(end), 0);
            content.splice(start..end, sector.iter().copied());
        }
    }
}
