//! The one integration test binary: the rules of the code base, its documents, and the real program.

mod docs;
mod floors;
mod tree;
