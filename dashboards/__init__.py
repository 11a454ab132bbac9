"""Figures, text plots, tables and the report of a search; web pages later. All read a `dashboards.view.SearchView`."""
