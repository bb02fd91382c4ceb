//! The screen: its state, and beside it what a frame derives from the state.

use chrono::{DateTime, FixedOffset};
use ratatui::Frame;

use super::conversation::BlockCache;
use super::event::{UiEffect, UiEvent};
use super::layout::{ScreenLayout, lay_out};
use super::model::Model;
use super::sidebar::window_title;
use super::update::update;
use super::view::view;

/// The whole screen. The event loop owns it.
#[derive(Debug, Clone)]
pub struct Screen {
    /// The state.
    pub model: Model,
    /// The layout of the last frame: what is drawn where, and what a click hits.
    pub(super) layout: ScreenLayout,
    /// Rendered blocks, kept from frame to frame.
    cache: BlockCache,
}

impl Screen {
    /// Creates the screen. Nothing is laid out before the first frame.
    pub fn new(model: Model) -> Self {
        Self { model, layout: ScreenLayout::default(), cache: BlockCache::default() }
    }

    /// Applies an event, and returns the effects to carry out.
    pub fn update(&mut self, now: DateTime<FixedOffset>, event: UiEvent) -> Vec<UiEffect> {
        update(&mut self.model, &self.layout, now, event)
    }

    /// Lays out and draws a frame. Returns the effects of what became visible.
    pub fn draw(&mut self, now: DateTime<FixedOffset>, frame: &mut Frame<'_>) -> Vec<UiEffect> {
        self.model.size = frame.area().as_size();
        self.layout = lay_out(&self.model, &self.layout, &mut self.cache, now);
        let effects = self.update(now, UiEvent::Displayed);
        if !effects.is_empty() {
            self.layout = lay_out(&self.model, &self.layout, &mut self.cache, now);
        }
        view(&self.model, &self.layout, now, frame);
        effects
    }

    /// When the screen has to be updated without an event; `None` if never.
    pub fn next_wake(&self, now: DateTime<FixedOffset>) -> Option<DateTime<FixedOffset>> {
        self.model.next_wake(now, self.layout.visible.counts_down)
    }

    /// The title of the terminal's window.
    pub fn title(&self, now: DateTime<FixedOffset>) -> String {
        window_title(&self.model, self.model.chat.server_time(now))
    }

    /// Forgets what earlier frames drew.
    #[cfg(test)]
    pub(super) fn clear_cache(&mut self) {
        self.cache = BlockCache::default();
    }
}
