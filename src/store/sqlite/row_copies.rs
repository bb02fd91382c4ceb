//! Erases the copies of rows that SQLite leaves in the file.
//!
//! `secure_delete` overwrites a row where it is deleted. But when SQLite balances the leaves of a table, which
//! only deletions and changed rows cause, it moves rows and leaves their bytes in the unused space of the pages
//! (`rebuildPage` in its source), also those of rows that are deleted later. So a scrub overwrites the unused
//! space of the pages that were written meanwhile: whatever is there, SQLite does not read it. A start does not
//! know which these are, so it has all pages examined once.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

/// The pages that are examined at once: some milliseconds, during which nothing else is written.
const PAGES_AT_ONCE: usize = 1_024;

/// The first byte of a leaf of a table (<https://sqlite.org/fileformat2.html#b_tree_pages>).
const TABLE_LEAF: u8 = 13;

/// Page 1 has no messages, and begins with another header.
const FIRST_PAGE: u32 = 2;

/// The largest file, in pages (900 GB). Pages that are not of a tree begin with the number of another page, which
/// is too small here to be taken for [`TABLE_LEAF`].
pub(super) const MAX_PAGES: u32 = 0x0CFF_FFFF;

/// The pages that may contain copies of rows.
#[derive(Debug)]
pub(super) struct RowCopies {
    page_size: u64,
    /// Pages from before the start that were not examined yet.
    old: Range<u32>,
    /// Pages that were written since they were examined.
    written: BTreeSet<u32>,
}

impl RowCopies {
    /// Of a file that has just been opened.
    pub(super) fn new(page_size: u64, n_pages: u32) -> Self {
        let old = FIRST_PAGE..n_pages.saturating_add(1);
        Self { page_size, old, written: BTreeSet::new() }
    }

    /// Notes that these pages were written.
    pub(super) fn note_written(&mut self, pages: Vec<u32>) {
        self.written.extend(pages.into_iter().filter(|page| *page >= FIRST_PAGE));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty() && self.old.is_empty()
    }

    /// Erases the copies in the next [`PAGES_AT_ONCE`] pages. The caller makes sure that nothing else writes to
    /// the file, and that the write-ahead log is empty.
    pub(super) fn erase_some(&mut self, file: &File) -> io::Result<()> {
        let next = || self.written.pop_first().or_else(|| self.old.next());
        let pages: Vec<_> = std::iter::from_fn(next).take(PAGES_AT_ONCE).collect();
        let erased = self.erase(file, &pages);
        if erased.is_err() {
            self.written.extend(pages);
        }
        erased
    }

    fn erase(&self, mut file: &File, pages: &[u32]) -> io::Result<()> {
        let mut page = vec![0; usize::try_from(self.page_size).unwrap_or_default()];
        for number in pages {
            let start = u64::from(number - 1) * self.page_size;
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut page)?;
            let unused = unused_space(&page);
            if let Some(bytes) = page.get_mut(unused.clone())
                && bytes.iter().any(|byte| *byte != 0)
            {
                bytes.fill(0);
                file.seek(SeekFrom::Start(start + unused.start as u64))?;
                file.write_all(bytes)?;
            }
        }
        file.sync_data()
    }
}

/// The space between the numbers at the beginning of a leaf, which say where its rows are, and the rows. Other
/// pages have no message texts, or no copies.
fn unused_space(page: &[u8]) -> Range<usize> {
    let [TABLE_LEAF, _, _, rows_high, rows_low, start_high, start_low, ..] = *page else {
        return 0..0;
    };
    let n_rows = usize::from(u16::from_be_bytes([rows_high, rows_low]));
    8 + 2 * n_rows..usize::from(u16::from_be_bytes([start_high, start_low]))
}
