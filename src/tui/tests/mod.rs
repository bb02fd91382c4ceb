//! Whole screens, driven by keys and clicks.
