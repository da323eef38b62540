//! A caller as it is kept beside what goes on without it: an export, a subscription.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Caller, Purpose, Reach, Scope};

/// The caller in writing.
pub fn write_caller(caller: &Caller) -> String {
    let reach = match &caller.reach {
        Reach::Everything => json!({ "everything": true }),
        Reach::Units(units) => json!({ "units": units }),
        Reach::Registry(name) => json!({ "registry": name }),
    };
    let purpose = match caller.purpose {
        Purpose::Care => "care",
        Purpose::Registry => "registry",
        Purpose::Operations => "operations",
    };
    let scopes = caller.scopes.as_ref().map(|scopes| scopes.iter().map(Scope::to_string).collect::<Vec<_>>());
    json!({
        "name": caller.name, "client": caller.client, "partner": caller.partner, "reach": reach, "purpose": purpose,
        "scopes": scopes,
    })
    .to_string()
}

/// The caller again, no wider than it was, its scopes to be read anew ([`Caller::narrowed`]); `None` where any part cannot be
/// read.
pub fn read_caller(text: &str) -> Option<Caller> {
    let kept: Value = serde_json::from_str(text).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let reach = &kept["reach"];
    let reach = if reach["everything"] == true {
        Reach::Everything
    } else if let Some(units) = reach["units"].as_array() {
        Reach::Units(units.iter().map(text).collect::<Option<_>>()?)
    } else {
        Reach::Registry(text(&reach["registry"])?)
    };
    let scopes = match &kept["scopes"] {
        Value::Null => None,
        Value::Array(list) => {
            let scopes: Option<Vec<Scope>> = list.iter().map(|s| Scope::parse(s.as_str()?)).collect();
            Some(Arc::from(scopes?))
        }
        _ => return None,
    };
    let purpose = match kept["purpose"].as_str()? {
        "care" => Purpose::Care,
        "registry" => Purpose::Registry,
        "operations" => Purpose::Operations,
        _ => return None,
    };
    let (name, client, partner) = (text(&kept["name"])?, text(&kept["client"]), text(&kept["partner"]));
    Some(Caller { name, client, partner, reach, purpose, scopes, grants: None })
}

#[cfg(test)]
mod tests {
    use super::super::scope;
    use super::*;

    #[test]
    fn a_caller_that_is_kept_is_the_same_caller_again() {
        let scopes: Arc<[Scope]> = Arc::from(scope::read("system/Procedure.rs?code=DV133 system/*.r"));
        for reach in [Reach::Everything, Reach::Units(vec!["SE1".into()]), Reach::Registry("r".into())] {
            for scopes in [None, Some(Arc::clone(&scopes))] {
                let purpose = Purpose::Registry;
                let (name, client, reach) = ("r".into(), Some("c".into()), reach.clone());
                let caller = Caller { name, client, partner: None, reach, purpose, scopes, grants: None };
                assert_eq!(read_caller(&write_caller(&caller)), Some(caller));
            }
        }
        assert_eq!(read_caller("{}"), None);
    }
}
