//! Questions that users put to a protocol of this node, and who waits for the answers.
//!
//! ```text
//! open ─▶ a number ─▶ Input::Asked ─▶ the protocol ─▶ Effect::Answer ─▶ answer
//!                                                     before `asked` ─▶ Asked::Now
//!                                                              later ─▶ who holds Asked::Later
//! ```
//! Most questions are answered while they are put: those cost no channel. As many wait as were allowed when this was made; one more
//! is told that too many do. Once closed nobody is answered any more, and who waits finds the sender dropped.

use std::collections::HashMap;

use tokio::sync::oneshot;

/// What became of a question.
#[derive(Debug)]
pub(super) enum Asked<A> {
    /// It is answered.
    Now(A),
    /// It will be, or the sender is dropped because the node leaves.
    Later(oneshot::Receiver<A>),
    /// Too many others wait.
    Busy,
    /// The node is leaving.
    Leaving,
}

/// Questions that have no answer yet.
#[derive(Debug)]
pub(super) struct Questions<A> {
    waiting_max: usize,
    is_closed: bool,
    last: u64,
    /// The question that is being put, and its answer if it came at once.
    at_once: Option<(u64, Option<A>)>,
    waiting: HashMap<u64, oneshot::Sender<A>>,
}

impl<A> Questions<A> {
    /// None yet, and never more than `waiting_max`.
    pub(super) fn new(waiting_max: usize) -> Self {
        Self { waiting_max, is_closed: false, last: 0, at_once: None, waiting: HashMap::new() }
    }

    /// The number of a new question. It is to be put at once, and then [`Questions::asked`] says what became of it.
    ///
    /// # Errors
    /// What becomes of it if it is not to be put.
    pub(super) fn open(&mut self) -> Result<u64, Asked<A>> {
        if self.is_closed {
            return Err(Asked::Leaving);
        }
        if self.waiting.len() >= self.waiting_max {
            return Err(Asked::Busy);
        }
        self.last += 1;
        self.at_once = Some((self.last, None));
        Ok(self.last)
    }

    /// The question of that number has been put.
    pub(super) fn asked(&mut self, id: u64) -> Asked<A> {
        if let Some((_, Some(answer))) = self.at_once.take() {
            return Asked::Now(answer);
        }
        let (sender, answer) = oneshot::channel();
        self.waiting.insert(id, sender);
        Asked::Later(answer)
    }

    /// The answer to that question.
    pub(super) fn answer(&mut self, id: u64, answer: A) {
        match &mut self.at_once {
            Some((asked, at_once)) if *asked == id => *at_once = Some(answer),
            // Whoever asked may have gone away meanwhile.
            _ => drop(self.waiting.remove(&id).map(|waiting| waiting.send(answer))),
        }
    }

    /// No more questions and no more answers: the node leaves.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_at_once_or_later_and_none_after_the_end() {
        let mut questions = Questions::new(1);
        let at_once = questions.open().unwrap();
        questions.answer(at_once, "now");
        assert!(matches!(questions.asked(at_once), Asked::Now("now")));
        let slow = questions.open().unwrap();
        let Asked::Later(mut answer) = questions.asked(slow) else { panic!("nobody has answered") };
        assert!(matches!(questions.open(), Err(Asked::Busy)));
        questions.answer(slow, "later");
        assert_eq!(answer.try_recv(), Ok("later"));
        let unanswered = questions.open().unwrap();
        let Asked::Later(mut answer) = questions.asked(unanswered) else { panic!("nobody has answered") };
        questions.close();
        assert_eq!(answer.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert!(matches!(questions.open(), Err(Asked::Leaving)));
    }
}
