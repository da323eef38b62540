//! What a type is about, as far as that alone decides who may have it: lists of codes and rules are about nobody, and words are
//! for those to whom they were said.

/// What the gateway goes by: code lists, measures and rules. They are versioned resources of nobody's.
pub const DEFINITIONS: [&str; 3] = ["CodeSystem", "Measure", "PlanDefinition"];

/// What is said, written or attached, and what a patient has decided of it. A registry gets what was done, and none of these,
/// whatever its scopes.
pub const WORDS: [&str; 6] =
    ["Binary", "Communication", "CommunicationRequest", "Composition", "Consent", "DocumentReference"];

pub fn is_definition(resource_type: &str) -> bool {
    DEFINITIONS.contains(&resource_type)
}

pub fn is_words(resource_type: &str) -> bool {
    WORDS.contains(&resource_type)
}
