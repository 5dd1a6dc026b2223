//! What is where: endpoints, profiles and policies, watched from the control plane.

mod endpoint;
mod profile;

pub use self::endpoint::{
    Endpoint, EndpointMeta, Endpoints, EndpointsState, Http2Params, Labels, ProtocolHint,
};
pub use self::profile::{
    Profile, ProfileMatch, ProfileRoute, ResponseClass, ResponseMatch, RetryBudget, WeightedTarget,
};
