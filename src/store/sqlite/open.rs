//! Opening the log: the lock of the data folder, connection settings, and format migrations.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::distr::{Alphanumeric, SampleString};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::super::StoreError;
use super::row_copies::MAX_PAGES;
use super::{accounts, migrate};

/// Name of the log file in the data folder.
pub(super) const LOG_FILE: &str = "log.db";

/// SQLite's `application_id` of a log: "chat" in ASCII.
const APPLICATION_ID: i64 = 0x6368_6174;

/// The script at index n migrates a log from format n to n + 1.
const MIGRATIONS: [&str; 7] = [
    include_str!("schema.sql"),
    include_str!("format_2.sql"),
    include_str!("format_3.sql"),
    include_str!("format_4.sql"),
    include_str!("format_5.sql"),
    include_str!("format_6.sql"),
    include_str!("format_7.sql"),
];

/// The format after all migrations, stored as SQLite's `user_version`.
#[expect(clippy::cast_possible_wrap, reason = "a few steps")]
const CURRENT_FORMAT: i64 = MIGRATIONS.len() as i64;

/// Before 3.51.3, a write and a checkpoint by two connections at the same time can corrupt the file
/// (<https://sqlite.org/wal.html#walresetbug>).
const MIN_SQLITE_VERSION: i32 = 3_051_003;

/// How long to wait for a write lock held by another process (the `sqlite3` shell, say).
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Page cache of the writer: the pages that a full batch of direct messages changes. If they do not fit,
/// they are written and read several times.
const WRITER_CACHE_KIB: u32 = 8 * 1_024;

/// Page cache of each reader. Small, because the operating system caches the file, too.
const READER_CACHE_KIB: u32 = 256;

/// A locked data folder; dropping it releases the lock.
#[derive(Debug)]
pub(super) struct LockedFolder {
    pub(super) file: PathBuf,
    _lock: File,
}

/// Locks the data folder, and creates it and the log file if they are missing.
pub(super) fn lock_folder(folder: &Path) -> Result<LockedFolder, StoreError> {
    if rusqlite::version_number() < MIN_SQLITE_VERSION {
        return Err(StoreError::SqliteTooOld(rusqlite::version()));
    }
    owner_only_folder().create(folder).map_err(StoreError::file_access(folder))?;
    let lock = acquire_lock(folder)?;
    let file = folder.join(LOG_FILE);
    // SQLite creates its other files with the permissions of this one.
    owner_only_file().open(&file).map_err(StoreError::file_access(&file))?;
    sync_folder(folder)?;
    Ok(LockedFolder { file, _lock: lock })
}

fn acquire_lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join("lock");
    let mut file = owner_only_file().open(&path).map_err(StoreError::file_access(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // On systems where a lock prevents reading, the process id stays unknown.
            let read = file.read_to_string(&mut pid);
            let holder = match (read, pid.trim().parse::<u32>()) {
                (Ok(_), Ok(pid)) => format!("another server (process {pid})"),
                (Ok(_) | Err(_), Ok(_) | Err(_)) => "another server".to_owned(),
            };
            return Err(StoreError::Locked { folder: folder.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(StoreError::file_access(path)(source)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(StoreError::file_access(path))?;
    Ok(file)
}

fn owner_only_folder() -> fs::DirBuilder {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

fn owner_only_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A new file survives a power cut only if its folder is synced, too.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::file_access(folder))
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> Result<(), StoreError> {
    Ok(())
}

/// Opens the writer's connection, and migrates the log to the current format.
pub(super) fn open_writer(file: &Path) -> Result<Connection, StoreError> {
    let mut db = connect(file)?;
    let format = read_format(&db, file)?;
    // WAL mode has to be set before the first table is created: later, SQLite would rewrite the file.
    db.pragma_update(None, "journal_mode", "WAL")?;
    wait_for_disk(&db)?;
    // Deleted content is overwritten with zeros.
    db.pragma_update(None, "secure_delete", true)?;
    db.pragma_update(None, "max_page_count", MAX_PAGES)?;
    // The writer checkpoints explicitly, because automatic checkpoints do not report their errors.
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.pragma_update(None, "journal_size_limit", 16 * 1_024 * 1_024)?;
    db.pragma_update(None, "cache_size", -i64::from(WRITER_CACHE_KIB))?;
    migrate(&mut db, format)?;
    Ok(db)
}

/// Opens a connection that only runs checkpoints.
pub(super) fn open_checkpointer(file: &Path) -> Result<Connection, StoreError> {
    let db = connect(file)?;
    wait_for_disk(&db)?;
    Ok(db)
}

fn wait_for_disk(db: &Connection) -> Result<(), StoreError> {
    db.pragma_update(None, "synchronous", "FULL")?;
    // On macOS, `fsync` does not wait for the disk itself without these two; no effect elsewhere.
    db.pragma_update(None, "fullfsync", true)?;
    db.pragma_update(None, "checkpoint_fullfsync", true)?;
    Ok(())
}

/// Opens a reader's connection.
pub(super) fn open_reader(file: &Path) -> Result<Connection, StoreError> {
    let db = connect(file)?;
    db.pragma_update(None, "query_only", true)?;
    db.pragma_update(None, "cache_size", -i64::from(READER_CACHE_KIB))?;
    Ok(db)
}

fn connect(file: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(file, flags)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    // Keeps message text out of temporary files.
    db.pragma_update(None, "temp_store", "MEMORY")?;
    // The schema of a manipulated file must not run functions with side effects.
    db.pragma_update(None, "trusted_schema", false)?;
    // Otherwise SQLite prepares some cached statements again at each use, for a plan that fits the parameters.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.set_prepared_statement_cache_capacity(128);
    Ok(db)
}

/// The format of the file; 0 if it is new. Does not change the file.
fn read_format(db: &Connection, file: &Path) -> Result<usize, StoreError> {
    let number = |pragma| db.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let not_a_log = || StoreError::NotALog(file.to_owned());
    let (application, version) = match (number("application_id"), number("user_version")) {
        (Ok(application), Ok(version)) => (application, version),
        (Err(error), _) | (_, Err(error)) => {
            return Err(match error.sqlite_error_code() {
                Some(rusqlite::ErrorCode::NotADatabase) => not_a_log(),
                Some(_) | None => error.into(),
            });
        }
    };
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    if application != APPLICATION_ID && (application, version, tables) != (0, 0, 0) {
        return Err(not_a_log());
    }
    match usize::try_from(version) {
        Ok(format) if format <= MIGRATIONS.len() => Ok(format),
        Ok(_) | Err(_) => Err(StoreError::NewerFormat {
            path: file.to_owned(),
            format: version,
            supported: CURRENT_FORMAT,
        }),
    }
}

/// Migrates the file from `format` to the current one, in one transaction.
fn migrate(db: &mut Connection, format: usize) -> Result<(), StoreError> {
    let steps = MIGRATIONS.get(format..).unwrap_or_default();
    if steps.is_empty() {
        return Ok(());
    }
    let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for step in steps {
        transaction.execute_batch(step)?;
    }
    if format < 5 {
        accounts::insert_all_skeletons(&transaction)?;
    }
    if format < 7 {
        migrate::to_conversations(&transaction)?;
    }
    if format == 0 {
        let epoch = Alphanumeric.sample_string(&mut rand::rng(), 16);
        transaction.execute(
            "INSERT INTO log (one, epoch, head, clock, horizon) VALUES (1, ?1, 0, 0, 0)",
            [epoch],
        )?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    transaction.pragma_update(None, "user_version", CURRENT_FORMAT)?;
    transaction.commit()?;
    Ok(())
}
