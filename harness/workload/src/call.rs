//! The client side: runs a plan and reports each call.
//!
//! Calls are never retried. With a rate the schedule is open: a call is due at its time whether or
//! not those before have ended, and its outcome tells both when it was due and when it began.

pub mod dial;
pub mod http1;
pub mod http2;
pub mod messages;
pub mod outcome;
pub mod plan;
pub mod stop;
pub mod tcp;
pub mod websocket;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::unix_ns;
use dial::Dialer;
use outcome::{Outcome, Progress};
use plan::{Plan, Protocol};
use stop::Stop;

/// Outcomes that wait for a slow reader before calls wait too.
pub const OUTCOMES_WAITING: usize = 1024;

/// What the calls of one plan share.
pub struct Caller {
    plan: Plan,
    dialer: Arc<Dialer>,
    http1: http1::Pool,
    http2: http2::Pool,
    stop: Stop,
}

impl Caller {
    /// A caller for `plan`.
    pub fn new(plan: Plan, stop: Stop) -> Result<Arc<Self>, String> {
        let dialer = Arc::new(Dialer::new(&plan)?);
        let kept = plan.connections.unwrap_or(plan.concurrency);
        let http1 = http1::Pool::new(dialer.clone(), kept);
        let http2 = http2::Pool::new(dialer.clone(), plan.connections.unwrap_or(1));
        Ok(Arc::new(Self {
            plan,
            dialer,
            http1,
            http2,
            stop,
        }))
    }

    /// How many connections were opened.
    pub fn connections(&self) -> u64 {
        self.dialer.opened()
    }

    /// How kept connections ended, see [`Dialer::ends`].
    pub fn ends(&self) -> BTreeMap<&'static str, u64> {
        self.dialer.ends()
    }

    /// Runs the plan to its end; outcomes go to `out` as calls end.
    pub async fn run(self: Arc<Self>, out: mpsc::Sender<Outcome>) {
        let schedule = Schedule::new(&self.plan);
        let turns = Arc::new(Semaphore::new(self.plan.concurrency));
        let mut calls = JoinSet::new();
        for n in 0.. {
            while calls.try_join_next().is_some() {}
            if self.stop.is_set() || !schedule.has(n) {
                break;
            }
            let due = schedule.due(n);
            let turn = tokio::select! {
                turn = async {
                    if let Some(due) = due {
                        tokio::time::sleep_until(due).await;
                    }
                    turns.clone().acquire_owned().await
                } => turn,
                () = self.stop.wait() => break,
            };
            // The semaphore is never closed.
            let Ok(turn) = turn else { break };
            if !schedule.has(n) {
                break;
            }
            let late = due.map_or(Duration::ZERO, |due| due.elapsed());
            let (caller, out) = (self.clone(), out.clone());
            calls.spawn(async move {
                let intended_ns = unix_ns() - late.as_nanos() as u64;
                let outcome = caller.one(n, intended_ns).await;
                drop(turn);
                // Nobody reads any more: the plan was given up.
                let _ = out.send(outcome).await;
            });
        }
        while calls.join_next().await.is_some() {}
    }

    async fn one(&self, n: u64, intended_ns: u64) -> Outcome {
        let plan = &self.plan;
        let mut progress = Progress::begin(n, plan.id_of(n), intended_ns, plan.keep_bytes);
        let cancelled = async {
            match plan.cancel_after_ms {
                Some(time) => tokio::time::sleep(Duration::from_millis(time)).await,
                None => std::future::pending().await,
            }
        };
        let deadline = tokio::time::sleep(plan.deadline());
        let failure = tokio::select! {
            () = self.call(&mut progress) => None,
            () = cancelled => Some(("cancelled", "given up as planned".to_owned())),
            () = deadline => Some(("timeout", format!("not over after {} s", plan.deadline_s))),
        };
        if let Some((kind, message)) = failure {
            progress.fail(kind, message);
        }
        progress.end(plan.brief)
    }

    async fn call(&self, progress: &mut Progress) {
        let (plan, stop) = (&self.plan, &self.stop);
        match plan.protocol {
            Protocol::H1 => http1::call(plan, &self.http1, stop, progress).await,
            Protocol::H2 | Protocol::Grpc => http2::call(plan, &self.http2, stop, progress).await,
            Protocol::Ws => websocket::call(plan, &self.dialer, stop, progress).await,
            Protocol::Tcp => tcp::call(plan, &self.dialer, stop, progress).await,
        }
    }
}

/// When calls are due.
struct Schedule {
    begun: Instant,
    count: Option<u64>,
    duration: Option<Duration>,
    interval: Option<Duration>,
}

impl Schedule {
    fn new(plan: &Plan) -> Self {
        Self {
            begun: Instant::now(),
            count: plan.count.or(plan.duration_s.is_none().then_some(1)),
            duration: plan.duration_s.map(Duration::from_secs_f64),
            interval: plan
                .rate_rps
                .map(|rate| Duration::from_secs_f64(1.0 / rate)),
        }
    }

    fn has(&self, n: u64) -> bool {
        let time = match self.interval {
            Some(interval) => interval.mul_f64(n as f64),
            None => self.begun.elapsed(),
        };
        self.count.is_none_or(|count| n < count)
            && self.duration.is_none_or(|duration| time < duration)
    }

    fn due(&self, n: u64) -> Option<Instant> {
        self.interval
            .map(|interval| self.begun + interval.mul_f64(n as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_open_schedule_does_not_wait_for_answers() {
        let json = r#"{"protocol":"h1","url":"http://a","rate_rps":4,"duration_s":1}"#;
        let schedule = Schedule::new(&Plan::parse(json.as_bytes()).unwrap());
        assert_eq!((0..10).take_while(|&n| schedule.has(n)).count(), 4);
        assert_eq!(
            schedule.due(2),
            Some(schedule.begun + Duration::from_millis(500))
        );
    }
}
