"""What people read: charts, reports, pictures, claims and exports."""
