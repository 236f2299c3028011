//! An Ingress that does not say of which class it is gets the default one.

use api::default_class::pick;
use async_trait::async_trait;
use k8s_openapi::api::networking::v1::IngressClass;
use machinery::status::Status;
use serde_json::Value;

use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;

const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
/// The field's form of before.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

pub struct DefaultIngressClass;

#[async_trait]
impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        if review.operation != Operation::Create || !review.is("networking.k8s.io", "ingresses") {
            return Ok(());
        }
        let annotated = object
            .pointer("/metadata/annotations")
            .is_some_and(|annotations| annotations.get(CLASS_ANNOTATION).is_some());
        if annotated || object.pointer("/spec/ingressClassName").is_some_and(|class| !class.is_null()) {
            return Ok(());
        }
        let Some((kind, _)) = api::find("networking.k8s.io", "v1", "ingressclasses") else { return Ok(()) };
        let classes = review.server.registry.reflected::<IngressClass>(kind).list();
        if let Some(name) = pick(classes.iter().map(|class| &class.metadata), &[IS_DEFAULT]) {
            object::map_mut(object, "spec").insert("ingressClassName".to_owned(), name.into());
        }
        Ok(())
    }
}
