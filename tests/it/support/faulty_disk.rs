//! A disk that a test can fill up, break, and cut off from its power: see `faulty_disk.c`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where its tools do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tempfile::TempDir;

/// What a disk writes at once, in bytes: a sector is old or new, never half of each.
const SECTOR: usize = 512;

/// What `faulty_disk.c` became, once for all tests; nothing where no C compiler is.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let built = LIBRARY.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        let (source, library) = (folder.path().join("faulty_disk.c"), folder.path().join("disk.so"));
        fs::write(&source, include_str!("faulty_disk.c")).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl");
        let done = compiler.output();
        match done {
            Ok(done) if done.status.success() => Some((folder, library)),
            Ok(done) => panic!("faulty_disk.c: {}", String::from_utf8_lossy(&done.stderr)),
            Err(_) => None,
        }
    });
    built.as_ref().map(|(_, library)| library.as_path())
}

/// The disk of a server's log.
pub(crate) struct FaultyDisk {
    library: &'static Path,
    data: PathBuf,
    folder: TempDir,
}

impl FaultyDisk {
    /// The disk of the log in this folder. Without a C compiler there is none, and what it is for is
    /// not tested; that is said, and where everything has to be tested it is a failure.
    pub(crate) fn create(data: &Path) -> Option<Self> {
        let Some(library) = library() else {
            assert!(std::env::var_os("CI").is_none(), "there is no C compiler (cc): install one");
            crate::support::print_result(
                "NOT TESTED: trouble with the disk, for there is no C compiler (cc)",
            );
            return None;
        };
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("kept")).unwrap();
        // The system names files by their real paths.
        Some(Self { library, data: data.canonicalize().unwrap(), folder })
    }

    /// Puts a server on this disk.
    pub(crate) fn attach<'a>(&self, server: &'a mut Command) -> &'a mut Command {
        server.env("LD_PRELOAD", self.library).env("DISK_DATA", &self.data);
        server.env("DISK_KEPT", self.synced_folder()).env("DISK_TROUBLE", self.fault_file())
    }

    /// From now on the disk is `full` or `broken`.
    pub(crate) fn fail_with(&self, fault: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, fault).unwrap();
        fs::rename(new, self.fault_file()).unwrap();
    }

    /// There is no trouble any more.
    pub(crate) fn repair(&self) {
        fs::remove_file(self.fault_file()).unwrap();
    }

    /// What a power cut leaves: all that was synced; and of what was written later, nothing, or each
    /// sector with an even chance.
    pub(crate) fn cut_power(&self, rng: &mut StdRng) {
        let is_torn = rng.random();
        for entry in fs::read_dir(&self.data).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if !name.starts_with("log.db") {
                continue;
            }
            let kept = self.synced_folder().join(name);
            let Ok(mut safe) = fs::read(&kept) else {
                fs::remove_file(&path).unwrap();
                continue;
            };
            if is_torn {
                tear_sectors(&mut safe, &fs::read(&path).unwrap(), rng);
            }
            fs::write(&path, &safe).unwrap();
            fs::write(&kept, &safe).unwrap();
        }
    }

    fn synced_folder(&self) -> PathBuf {
        self.folder.path().join("kept")
    }

    fn fault_file(&self) -> PathBuf {
        self.folder.path().join("trouble")
    }
}

fn tear_sectors(safe: &mut Vec<u8>, written: &[u8], dice: &mut StdRng) {
    for (index, sector) in written.chunks(SECTOR).enumerate() {
        let (start, end) = (index * SECTOR, index * SECTOR + sector.len());
        if dice.random() {
            safe.resize(safe.len().max(end), 0);
            safe.splice(start..end, sector.iter().copied());
        }
    }
}
