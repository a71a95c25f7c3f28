"""Creates the table and puts one article into it: without this migration `/` and `/health` answer 500."""

from django.db import migrations, models


def stock(apps, schema_editor):
    apps.get_model("shop", "Article").objects.create(name="bean")


class Migration(migrations.Migration):
    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="Article",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
            ],
        ),
        migrations.RunPython(stock, migrations.RunPython.noop),
    )
