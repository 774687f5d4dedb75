//! Leaving a server as it was: everything under the branch is deleted by policy, hosts by their own names since they would outlive
//! the factory that owned them, and then the server is asked whether anything is left.

use serde_json::Value;

use crate::client::{Incoming, Outgoing};
use crate::runner::{Run, pair};

/// Rows that one listing returns at most.
const PAGE: usize = 1000;

impl Run<'_> {
    /// Removes the branch and everything that was made; an error names what is left.
    pub(crate) async fn clean(&mut self) -> Result<(), String> {
        let reply = self.authenticate(&self.target.login.clone(), &self.target.key.clone()).await?;
        let authorization = pair("Authorization", &format!("Token token=\"{}\"", reply.text()));
        let mut records: Vec<(String, String)> =
            self.hosts.iter().map(|id| ("host".to_owned(), id.clone())).collect();
        records.extend(self.left(&authorization).await?);
        // What owns others goes last.
        let rank = |kind: &str| {
            ["host", "user", "host_factory", "variable", "layer", "group", "policy"]
                .iter()
                .position(|one| *one == kind)
        };
        records.sort_by(|(one, id), (other, other_id)| {
            rank(one).cmp(&rank(other)).then_with(|| other_id.cmp(id))
        });
        records.dedup();
        // An id that begins with a slash cannot be named in policy; such cases are asked of the stand-in only.
        let statements: Vec<String> = records
            .iter()
            .filter(|(_, id)| !id.starts_with('/'))
            .map(|(kind, id)| {
                format!("- !delete\n  record: !{} {}\n", kind.replace('_', "-"), Value::from(id.as_str()))
            })
            .collect();
        if self.patch(&authorization, statements.concat()).await?.status != 201 {
            for statement in statements {
                let reply = self.patch(&authorization, statement).await?;
                if reply.status != 201 {
                    return Err(format!("a deletion ended with {}: {}", reply.status, reply.text()));
                }
            }
        }
        let left = self.left(&authorization).await?;
        if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:?}")) }
    }

    async fn patch(&self, authorization: &(String, String), body: String) -> Result<Incoming, String> {
        let request = Outgoing {
            method: "PATCH".to_owned(),
            target: format!("/policies/{}/policy/root", self.target.account),
            headers: vec![authorization.clone(), pair("Content-Type", "application/x-yaml")],
            body: body.into_bytes(),
            ..Outgoing::default()
        };
        self.target.endpoint.exchange(&request).await.map_err(|error| format!("no reply: {error}"))
    }

    /// Kind and identifier of every resource that is named after our branch.
    async fn left(&self, authorization: &(String, String)) -> Result<Vec<(String, String)>, String> {
        let mut found = Vec::new();
        for page in 0.. {
            let request = Outgoing {
                method: "GET".to_owned(),
                target: format!("/resources/{}?limit={PAGE}&offset={}", self.target.account, page * PAGE),
                headers: vec![authorization.clone()],
                ..Outgoing::default()
            };
            let reply = self
                .target
                .endpoint
                .exchange(&request)
                .await
                .map_err(|error| format!("no reply: {error}"))?;
            if reply.status != 200 {
                return Err(format!("listing what is left ended with {}", reply.status));
            }
            let rows: Vec<Value> = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
            for id in rows.iter().filter_map(|row| row.get("id").and_then(Value::as_str)) {
                let mut parts = id.splitn(3, ':').skip(1);
                if let (Some(kind), Some(identifier)) = (parts.next(), parts.next())
                    && identifier.contains(&self.branch)
                {
                    found.push((kind.to_owned(), identifier.to_owned()));
                }
            }
            if rows.len() < PAGE {
                break;
            }
        }
        Ok(found)
    }
}
