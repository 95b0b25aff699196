"""Results as people read them: text, figures and pages."""
