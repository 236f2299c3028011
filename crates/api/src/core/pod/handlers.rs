//! Probes and lifecycle hooks: what a kubelet does to a container from outside, by exec, HTTP, TCP or gRPC.

use k8s_openapi::api::core::v1::{
    ExecAction, GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, SleepAction, TCPSocketAction,
};
use machinery::field::{Error, ErrorList, Path};
use machinery::names;

use super::containers::Scope;
use crate::checks;

/// The ways of reaching into a container, of which exactly one must be given.
#[derive(Default)]
struct Handler<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: Option<&'a SleepAction>,
}

impl<'a> From<&'a Probe> for Handler<'a> {
    fn from(probe: &'a Probe) -> Self {
        Handler {
            exec: probe.exec.as_ref(),
            http_get: probe.http_get.as_ref(),
            tcp_socket: probe.tcp_socket.as_ref(),
            grpc: probe.grpc.as_ref(),
            sleep: None,
        }
    }
}

impl<'a> From<&'a LifecycleHandler> for Handler<'a> {
    fn from(hook: &'a LifecycleHandler) -> Self {
        Handler {
            exec: hook.exec.as_ref(),
            http_get: hook.http_get.as_ref(),
            tcp_socket: hook.tcp_socket.as_ref(),
            grpc: None,
            sleep: hook.sleep.as_ref(),
        }
    }
}

pub fn liveness(probe: Option<&Probe>, scope: &Scope, path: &Path) -> ErrorList {
    let Some(probe) = probe else { return ErrorList::new() };
    let mut errors = common(probe, scope, path);
    errors.extend(must_succeed_once(probe, path));
    errors
}

pub fn readiness(probe: Option<&Probe>, scope: &Scope, path: &Path) -> ErrorList {
    let Some(probe) = probe else { return ErrorList::new() };
    let mut errors = common(probe, scope, path);
    if let Some(seconds) = probe.termination_grace_period_seconds {
        let path = path.child("terminationGracePeriodSeconds");
        errors.push(Error::invalid(&path, seconds, "must not be set for readinessProbes"));
    }
    errors
}

pub fn startup(probe: Option<&Probe>, scope: &Scope, path: &Path) -> ErrorList {
    liveness(probe, scope, path)
}

fn must_succeed_once(probe: &Probe, path: &Path) -> Option<Error> {
    let successes = probe.success_threshold.unwrap_or(0);
    (successes != 1).then(|| Error::invalid(&path.child("successThreshold"), successes, "must be 1"))
}

fn common(probe: &Probe, scope: &Scope, path: &Path) -> ErrorList {
    let mut errors = handler(&probe.into(), scope, path);
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    for (field, number) in numbers {
        errors.extend(checks::non_negative(number.unwrap_or(0).into(), &path.child(field)));
    }
    if let Some(seconds) = probe.termination_grace_period_seconds.filter(|s| *s <= 0) {
        errors.push(Error::invalid(&path.child("terminationGracePeriodSeconds"), seconds, "must be greater than 0"));
    }
    errors
}

pub fn lifecycle(lifecycle: Option<&Lifecycle>, scope: &Scope, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let Some(lifecycle) = lifecycle else { return errors };
    if let Some(hook) = &lifecycle.post_start {
        errors.extend(handler(&hook.into(), scope, &path.child("postStart")));
    }
    if let Some(hook) = &lifecycle.pre_stop {
        errors.extend(handler(&hook.into(), scope, &path.child("preStop")));
    }
    if let Some(signal) = &lifecycle.stop_signal {
        errors.extend(stop_signal(signal, scope, &path.child("stopSignal")));
    }
    errors
}

fn stop_signal(signal: &str, scope: &Scope, path: &Path) -> Option<Error> {
    match scope.os {
        None => Some(Error::forbidden(path, "may not be set for containers with empty `spec.os.name`")),
        Some("windows") if !matches!(signal, "SIGTERM" | "SIGKILL") => {
            Some(Error::not_supported(path, signal, &["SIGKILL", "SIGTERM"]))
        }
        Some("linux") if !is_linux_signal(signal) => {
            Some(Error::invalid(path, signal, "must be the name of a Linux signal, such as SIGTERM or SIGRTMIN+3"))
        }
        Some(_) => None,
    }
}

fn is_linux_signal(name: &str) -> bool {
    const NAMED: &[&str] = &[
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
        "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
        "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
    ];
    let Some(name) = name.strip_prefix("SIG") else { return false };
    let counted = |rest: &str, most: u8| rest.parse::<u8>().is_ok_and(|n| (1..=most).contains(&n));
    NAMED.contains(&name)
        || name.strip_prefix("RTMIN+").is_some_and(|rest| counted(rest, 15))
        || name.strip_prefix("RTMAX-").is_some_and(|rest| counted(rest, 14))
}

fn handler(handler: &Handler, scope: &Scope, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut given = 0;
    // The first one found counts; any other is refused where it stands.
    let mut first = |field: &'static str, errors: &mut ErrorList| {
        given += 1;
        if given > 1 {
            errors.push(Error::forbidden(&path.child(field), "may not specify more than 1 handler type"));
        }
        given == 1
    };
    if let Some(exec) = handler.exec
        && first("exec", &mut errors)
        && exec.command.as_ref().is_none_or(Vec::is_empty)
    {
        errors.push(Error::required(&path.child("exec").child("command"), ""));
    }
    if let Some(get) = handler.http_get
        && first("httpGet", &mut errors)
    {
        errors.extend(http_get(get, &path.child("httpGet")));
    }
    if let Some(tcp) = handler.tcp_socket
        && first("tcpSocket", &mut errors)
    {
        errors.extend(checks::port_number_or_name(&tcp.port, &path.child("tcpSocket").child("port")));
    }
    if let Some(grpc) = handler.grpc
        && first("grpc", &mut errors)
    {
        errors.extend(checks::port_number(grpc.port.into(), &path.child("grpc").child("port")));
    }
    if let Some(sleep) = handler.sleep
        && first("sleep", &mut errors)
    {
        errors.extend(self::sleep(sleep, scope, &path.child("sleep")));
    }
    if given == 0 {
        errors.push(Error::required(path, "must specify a handler type"));
    }
    errors
}

fn sleep(sleep: &SleepAction, scope: &Scope, path: &Path) -> Option<Error> {
    let grace = scope.grace_period_seconds?;
    (sleep.seconds < 0 || sleep.seconds > grace).then(|| {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        Error::invalid(path, sleep.seconds, detail)
    })
}

fn http_get(get: &HTTPGetAction, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if get.path.as_deref().unwrap_or("").is_empty() {
        errors.push(Error::required(&path.child("path"), ""));
    }
    errors.extend(checks::port_number_or_name(&get.port, &path.child("port")));
    let scheme = get.scheme.as_deref().unwrap_or("");
    if !matches!(scheme, "HTTP" | "HTTPS") {
        errors.push(Error::not_supported(&path.child("scheme"), scheme, &["HTTP", "HTTPS"]));
    }
    for header in get.http_headers.iter().flatten() {
        errors.extend(checks::each(&path.child("httpHeaders"), &header.name, names::http_header_name(&header.name)));
    }
    errors
}
