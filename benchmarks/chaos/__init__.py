"""Nothing is lost when something dies: searches are killed in many ways, and what is left of them is checked."""
