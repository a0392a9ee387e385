//! A panic must not reach the user as one, nor leave a half-changed engine behind.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Something that is given up when a panic interrupts its use.
#[derive(Clone, Debug)]
pub struct Guarded<T>(Option<T>);

/// The guarded thing was interrupted by a panic, now or earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an internal error interrupted this engine, and its state cannot be trusted any more")]
pub struct Poisoned;

impl<T> Guarded<T> {
    /// Guards `value`.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Uses the value; a panic on the way gives it up.
    ///
    /// # Errors
    /// When `action` panics, and ever after.
    pub fn run<R>(&mut self, action: impl FnOnce(&mut T) -> R) -> Result<R, Poisoned> {
        let value = self.0.as_mut().ok_or(Poisoned)?;
        catch_unwind(AssertUnwindSafe(|| action(value))).map_err(|_| {
            self.0 = None;
            Poisoned
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_poisons() {
        let mut guarded = Guarded::new(1);
        assert_eq!(guarded.run(|value| *value + 1), Ok(2));
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let interrupted: Result<(), Poisoned> = guarded.run(|value| {
            *value = 7;
            std::panic::panic_any("a bug");
        });
        std::panic::set_hook(hook);
        assert_eq!(interrupted, Err(Poisoned));
        assert_eq!(guarded.run(|value| *value), Err(Poisoned));
    }
}
