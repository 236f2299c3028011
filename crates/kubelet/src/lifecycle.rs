//! Life-cycle hooks: what a container is told after its start and before its end.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use crate::{
    cri::Cri,
    prober::{checks, http},
};

/// Runs a hook to its end; the error is the end of an event's message.
pub async fn run(
    cri: &Cri,
    container: &Container,
    id: &str,
    host: &str,
    handler: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(exec) = &handler.exec {
        let command = exec.command.clone().unwrap_or_default();
        let named = command.join(" ");
        return match cri.exec_sync(id, command, Duration::ZERO).await {
            Ok(answer) if answer.exit_code == 0 => Ok(()),
            Ok(answer) => {
                let output = checks::output(&answer);
                Err(format!("command {named:?} exited with {}: {output}", answer.exit_code))
            }
            Err(error) => Err(error.to_string()),
        };
    }
    if let Some(action) = &handler.http_get {
        let request = http::Request::new(action, container, host, "kube-lifecycle/1.36")?;
        let answer = request.send(Duration::from_secs(86_400)).await?;
        // Whatever the container answers, it has been told; only a server error says that it did not listen.
        return match answer.status {
            500.. => Err(format!("HTTP hook answered {}: {}", answer.status, answer.body)),
            _ => Ok(()),
        };
    }
    if let Some(sleep) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    if let Some(action) = &handler.tcp_socket {
        let port = http::port(&action.port, container)?;
        return http::dial(action.host.as_deref().unwrap_or(host), port).await.map(drop);
    }
    Err("invalid handler: no action".into())
}
