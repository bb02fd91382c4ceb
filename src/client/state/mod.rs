//! The room as one client sees it. Pure.
