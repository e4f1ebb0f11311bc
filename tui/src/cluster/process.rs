//! stub
use super::engine::*;
use crate::failure::Failure;
use async_trait::async_trait;
use futures_util::{StreamExt, stream::BoxStream};
use p2pnet_shared::NetworkName;
use std::path::Path;
#[derive(Debug)]
pub(crate) struct Process;
#[async_trait]
impl Engine for Process {
    fn kind(&self) -> &'static str { "process" }
    fn describe(&self) -> String { "local processes".to_owned() }
    async fn find(&self, _network: &NetworkName) -> Result<Option<Found>, Failure> { Ok(None) }
    async fn list(&self, _plan: &Plan) -> Result<Vec<Held>, Failure> { Ok(vec![]) }
    async fn preflight(&self, _plan: &Plan, _drafts: &[Draft]) -> Result<(), Failure> { Ok(()) }
    async fn prepare(&self, _plan: &Plan, _binary: &Path) -> Result<String, Failure> { Ok(String::new()) }
    async fn create(&self, _plan: &Plan, _draft: &Draft) -> Result<(), Failure> { Ok(()) }
    async fn act(&self, _plan: &Plan, _held: &Held, _action: Action) -> Result<(), Failure> { Ok(()) }
    async fn last_words(&self, _plan: &Plan, _held: &Held) -> Option<String> { None }
    async fn release(&self, _plan: &Plan) -> Result<(), Failure> { Ok(()) }
    async fn recall(&self, _plan: &Plan) -> Vec<Happening> { vec![] }
    fn changes(&self, _plan: &Plan) -> BoxStream<'static, Result<Happening, Failure>> { futures_util::stream::pending().boxed() }
}
