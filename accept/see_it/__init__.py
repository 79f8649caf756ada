"""See it: dashboard, history, forecast, alerts."""

from accept.see_it import forecast as forecast
