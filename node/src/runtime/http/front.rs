//! What serves one HTTP connection: gets of keys at once, everything else by the router.

use std::{convert::Infallible, future::Ready, pin::Pin};

use axum::{Router, http::Request, response::Response};
use futures_util::{FutureExt, future::Either};
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;

use super::{Surface, kv::Quick, router};

type Reply = Result<Response, Infallible>;

/// One node's HTTP surface, as hyper calls it. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::runtime) struct Front {
    surface: Surface,
    router: TowerToHyperService<Router>,
}

impl Front {
    pub(in crate::runtime) fn new(surface: Surface) -> Self {
        Self { router: TowerToHyperService::new(router(surface.clone())), surface }
    }
}

impl hyper::service::Service<Request<Incoming>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Reply>, Pin<Box<dyn Future<Output = Reply> + Send>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        match self.surface.quick(request.method(), request.uri(), request.headers()) {
            Some(Quick::Now(reply)) => Either::Left(std::future::ready(Ok(reply))),
            Some(Quick::Later(reply)) => Either::Right(Box::pin(reply.map(Ok))),
            None => Either::Right(Box::pin(self.router.call(request))),
        }
    }
}
